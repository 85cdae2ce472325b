"""An episode of gym-aloha in each dialect: episode.py ADDRESS.json PROMPT STEPS, with openpi-client and gym-aloha.

openpi's side is its own runtime, agent, chunk broker and client. The other side plays LingBot's dialect. Cameras are
rendered when a client asks the policy, once a chunk of ten actions; the physics runs at every control step. Both see
the same cube, so both robots have to move alike, to the last bit.
"""

import json
import pathlib
import sys
import time

import gym_aloha  # noqa: F401  (registers the environment)
import gymnasium
import numpy as np
import websockets.sync.client
from openpi_client import msgpack_numpy
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.runtime.agents.policy_agent import PolicyAgent
from openpi_client.runtime.environment import Environment
from openpi_client.runtime.runtime import Runtime
from openpi_client.websocket_client_policy import WebsocketClientPolicy

CAMERAS = {"cam_high": "top", "cam_left_wrist": "left_wrist", "cam_right_wrist": "right_wrist"}
HORIZON = 10  # actions that are played of a chunk
TASK = "gym_aloha/AlohaTransferCube-v0"


class Simulation:
    """gym-aloha's environment with a camera that is asked only when somebody looks."""

    def __init__(self):
        # Of the episode's length this test decides.
        self.gym = gymnasium.make(TASK, obs_type="pixels_agent_pos", max_episode_steps=10**6).unwrapped
        self.physics, task = self.gym._env.physics, self.gym._env.task
        blank = np.zeros((480, 640, 3), np.uint8)
        task.get_observation = lambda physics: {"qpos": task.get_qpos(physics), "images": {"top": blank}}
        self.states, self.looks, self.frames = [], 0, []

    def reset(self):
        self.states = [self.gym.reset(seed=7)[0]["agent_pos"]]

    def step(self, action):
        self.states.append(self.gym.step(np.asarray(action, np.float64))[0]["agent_pos"])

    def look(self):
        self.looks += 1
        images = {name: self.physics.render(height=480, width=640, camera_id=camera)
                  for name, camera in CAMERAS.items()}
        self.frames.append(images["cam_high"])
        return images


class OpenpiEnvironment(Environment):
    """The simulation as openpi's runtime wants it: nested images, channels first."""

    def __init__(self, simulation):
        self.simulation = simulation

    def reset(self):
        if not self.simulation.states:
            self.simulation.reset()  # the runtime resets once more when the episode has ended

    def is_episode_complete(self):
        return False

    def get_observation(self):
        state = self.simulation.states[-1]
        if (len(self.simulation.states) - 1) % HORIZON:
            return {"state": state}  # the broker plays its chunk
        images = {name: image.transpose(2, 0, 1) for name, image in self.simulation.look().items()}
        return {"state": state, "images": images}

    def apply_action(self, action):
        self.simulation.step(action["actions"])


def openpi_episode(port, steps, _):
    """The server knows the prompt; openpi's ALOHA client sends none."""
    simulation = Simulation()
    client = WebsocketClientPolicy("127.0.0.1", port)
    agent = PolicyAgent(ActionChunkBroker(client, HORIZON))
    Runtime(OpenpiEnvironment(simulation), agent, subscribers=[], max_episode_steps=steps).run()
    return simulation


def lingbot_episode(port, steps, prompt):
    simulation = Simulation()
    simulation.reset()
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None) as socket:
        msgpack_numpy.unpackb(socket.recv())  # the server's metadata

        def ask(request):
            socket.send(msgpack_numpy.packb(request))
            reply = socket.recv()
            assert isinstance(reply, bytes), reply
            return msgpack_numpy.unpackb(reply)

        assert ask({"reset": True, "robo_name": "aloha"}) == {"action": None}
        while len(simulation.states) <= steps:
            observation = {"observation.images." + name: image for name, image in simulation.look().items()}
            chunk = ask(observation | {"observation.state": simulation.states[-1], "task": prompt})["action"]
            for action in chunk[:HORIZON]:
                simulation.step(action)
    return simulation


def check(simulation, steps):
    states, frames = np.array(simulation.states), simulation.frames
    assert len(states) - 1 >= steps, f"expected {steps} control steps, found {len(states) - 1}"
    assert np.isfinite(states).all() and np.ptp(states, axis=0).min() > 1e-3, "a joint never moved"
    assert len(frames) >= steps // HORIZON and min(frame.std() for frame in frames) > 10, "a frame shows nothing"
    changed = [np.any(a != b) for a, b in zip(frames, frames[1:])]
    assert all(changed), "the camera shows the same twice"


def main():
    port, prompt, steps = json.loads(pathlib.Path(sys.argv[1]).read_text())["port"], sys.argv[2], int(sys.argv[3])
    seconds, episodes = [], []
    for run in (openpi_episode, lingbot_episode):
        started = time.perf_counter()
        episodes.append(run(port, steps, prompt))
        seconds.append(time.perf_counter() - started)
        check(episodes[-1], steps)
    openpi, lingbot = (np.array(episode.states)[:steps + 1] for episode in episodes)
    assert np.array_equal(openpi, lingbot), "the dialects moved the robot differently"
    print(f"episode: {steps} control steps, {episodes[0].looks} observations of three cameras, the same states in both "
          f"dialects; openpi {seconds[0]:.1f} s, LingBot {seconds[1]:.1f} s")


if __name__ == "__main__":
    main()
