"""Renders this directory's observation and statistics from the gym-aloha simulator.

    python -m venv aloha && aloha/bin/pip install gym-aloha      (Debian: apt-get install libosmesa6)
    MUJOCO_GL=osmesa aloha/bin/python render.py

Scripted episodes of the simulator's cube transfer give norm_stats.json: the right arm picks up the cube
and lifts it to the middle of the table, where the left arm waits. One moment of one more episode, the
right gripper coming down on the cube, gives the three frames and state.json.
"""
import json
import os
import pathlib

os.environ.setdefault("MUJOCO_GL", "osmesa")
import mujoco
import numpy as np
from gym_aloha import constants, utils
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
WIDTH, HEIGHT, WRIST_FIELD_OF_VIEW = 640, 480, 60  # pixels, pixels, degrees
STEPS, CONTROL_PERIOD = 300, 0.02                  # an episode of 6 s at 50 Hz
EPISODES, FRAME_EPISODE, FRAME_STEP = 24, 100, 105
FINGERTIP = 0.12                                   # metres ahead of the gripper link
CUBE_HEIGHT = 0.02                                 # metres: the centre of the resting cube
SIDES = ("left", "right")
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
NAMES = [f"{side}_{joint}" for side in SIDES for joint in (*JOINTS, "gripper")]
UNITS = (["rad"] * 6 + ["fraction open"]) * 2
ARM = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]      # rows of the 14 values that are arm joints
EFFECTOR = [6, 13]                                 # rows that are grippers
MIDDLE = np.array([0.0, 0.5, 0.3])                 # where the arms meet, metres


def joint_rows(side):
    """Where an arm's six joints stand in the simulator's 16 joint values (two fingers an arm)."""
    first = SIDES.index(side) * 8
    return np.arange(first, first + 6)


def solve_arm(model, data, side, position, pitch):
    """Damped least squares over waist, shoulder, elbow and wrist angle: moves the arm in `data` so that its fingertip
    is at `position` (metres) and its gripper points `pitch` degrees below the horizon, straight from the base."""
    body = model.body(f"vx300s_{side}/gripper_link").id
    rows = joint_rows(side)[[0, 1, 2, 4]]
    limits = model.jnt_range[rows]
    away = position[:2] - model.body(f"vx300s_{side}").pos[:2]
    pointing = np.append(np.cos(np.radians(pitch)) * away / np.linalg.norm(away), -np.sin(np.radians(pitch)))
    for _ in range(20):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        forward = data.xmat[body].reshape(3, 3)[:, 0]
        tip = data.xpos[body] + FINGERTIP * forward
        error = np.concatenate([position - tip, 0.3 * np.cross(forward, pointing)])
        if np.abs(error).max() < 1e-4:
            break
        linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jac(model, data, linear, angular, tip, body)
        jacobian = np.concatenate([linear[:, rows], 0.3 * angular[:, rows]])
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), error)
        data.qpos[rows] = np.clip(data.qpos[rows] + step, limits[:, 0], limits[:, 1])


def plan(model, cube, rng):
    """The episode's commands [STEPS, 14]: arm joints in radians, grippers as fractions open."""
    wait = MIDDLE + [-0.05, 0.0, 0.0]
    turn = rng.normal(0.0, 0.2, 2)                  # how each hand is turned about its own axis, radians
    # an arm: (step, fingertip x y z in metres, pitch in degrees, turn in radians, gripper)
    ways = {
        "left": [(0, -0.15, 0.5, 0.35, 0, 0, 0.2), (120, *wait - [0.1, 0, 0], 0, turn[0], 0.8),
                 (240, *wait - [0.1, 0, 0], 0, turn[0], 0.95), (275, *wait, 0, turn[0], 0.95),
                 (STEPS, *wait, 0, turn[0], 0.1)],
        "right": [(0, 0.15, 0.5, 0.35, 0, 0, 0.2), (70, *cube + [0, 0, 0.12], 60, turn[1], 0.9),
                  (120, *cube, 60, 0, 0.9), (150, *cube, 60, 0, 0.9), (170, *cube, 60, 0, 0.1),
                  (240, *MIDDLE, 0, 0, 0.1), (STEPS, *MIDDLE, 0, 0, 0.1)],
    }
    scratch = mujoco.MjData(model)
    scratch.qpos[:16] = constants.START_ARM_POSE
    commands = np.zeros((STEPS, 14))
    for step in range(STEPS):
        for side, way in ways.items():
            times, *columns = np.array(way).T
            *position, pitch, turned, gripper = (np.interp(step, times, column) for column in columns)
            solve_arm(model, scratch, side, np.array(position), pitch)
            first = SIDES.index(side) * 7
            commands[step, first:first + 7] = [*scratch.qpos[joint_rows(side)][:5], turned, gripper]
    # A hand at the controls is never still: a slow wander about the plan that starts and ends on it.
    wander = np.cumsum(rng.normal(0.0, 0.004, commands.shape), 0)
    commands += wander - np.linspace(0, 1, STEPS)[:, None] * wander[-1]
    commands[:, EFFECTOR] = commands[:, EFFECTOR].clip(0.0, 1.0)
    return commands


def read_state(data):
    """The robot's 14 values [14], from the simulator's 16."""
    arms = data.qpos[:16].reshape(2, 8)
    gripper = constants.normalize_puppet_gripper_position(arms[:, 6:7])
    return np.hstack([arms[:, :6], gripper]).ravel()


def episode(model, seed, until=STEPS):
    """Runs one episode -> states [until, 14], commands [until, 14], and the simulator as it then stands."""
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(model)
    data.qpos[:16] = data.ctrl[:] = constants.START_ARM_POSE
    data.qpos[16:] = utils.sample_box_pose(seed)
    cube = np.array([*data.qpos[16:18], CUBE_HEIGHT])
    commands, states = plan(model, cube, rng)[:until], []
    for command in commands:
        states.append(read_state(data))
        for arm in range(2):
            values = command[7 * arm:7 * arm + 7]
            finger = constants.unnormalize_puppet_gripper_position(values[6])
            data.ctrl[8 * arm:8 * arm + 8] = [*values[:6], finger, -finger]
        mujoco.mj_step(model, data, round(CONTROL_PERIOD / model.opt.timestep))
    return np.array(states), commands, data


def statistics(values):
    """values [N, D] -> the eight statistics of each column, rounded to six places."""
    named = {"mean": values.mean(0), "std": values.std(0), "min": values.min(0), "max": values.max(0)}
    named |= {f"q{percent:02}": np.percentile(values, percent, axis=0) for percent in (1, 2, 98, 99)}
    return {name: [round(float(x), 6) for x in row] for name, row in named.items()}


def write_json(name, content):
    text = json.dumps(content, indent=1)
    (HERE / name).write_text(text + "\n")


def main():
    model = mujoco.MjModel.from_xml_path(str(constants.ASSETS_DIR / "bimanual_viperx_transfer_cube.xml"))
    for side in SIDES:
        model.cam_fovy[model.camera(f"{side}_wrist").id] = WRIST_FIELD_OF_VIEW

    episodes = [episode(model, seed)[:2] for seed in range(EPISODES)]
    features = {}
    for feature, values in zip(("observation.state", "action"), map(np.concatenate, zip(*episodes))):
        features[f"{feature}.arm.position"] = statistics(values[:, ARM])
        features[f"{feature}.effector.position"] = statistics(values[:, EFFECTOR])
    write_json("norm_stats.json", {"norm_stats": features})

    data = episode(model, FRAME_EPISODE, FRAME_STEP)[2]
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for name, camera in (("cam_high", "top"), ("cam_left_wrist", "left_wrist"), ("cam_right_wrist", "right_wrist")):
            renderer.update_scene(data, camera)
            Image.fromarray(renderer.render()).save(HERE / f"{name}.png", optimize=True)
    write_json("state.json", {"names": NAMES, "units": UNITS, "state": [round(float(x), 6) for x in read_state(data)]})


if __name__ == "__main__":
    main()
