"""Loading and inferring leave the interpreter to other threads."""
import concurrent.futures
import threading
import time

import nervus


class Ticker:
    """A thread that counts as long as it gets the interpreter."""

    def __enter__(self):
        self.ticks, self.running = 0, True
        self.thread = threading.Thread(target=self.count)
        self.thread.start()
        return self

    def count(self):
        while self.running:
            self.ticks += 1
            time.sleep(0.001)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()


def test_another_thread_goes_on(checkpoint, policy, observation):
    tensors = policy.preprocess(**observation)
    calls = {"load": lambda: nervus.Policy.load(checkpoint, threads=1, steps=range(1, 101)),
             "infer": lambda: policy.infer(**observation), "infer_tensors": lambda: policy.infer_tensors(tensors)}
    for name, call in calls.items():
        with Ticker() as ticker:
            before, started = ticker.ticks, time.perf_counter()
            call()
            ticked, seconds = ticker.ticks - before, time.perf_counter() - started
        # A call that kept the interpreter would let through a tick at its beginning and one at its end.
        assert ticked > 5, f"{name}: {ticked} ticks in {seconds} s"


def test_threads_share_a_policy(policy, observation):
    expected = [policy.infer(**observation, seed=seed, steps=2).tobytes() for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: policy.infer(**observation, seed=seed % 4, steps=2).tobytes(), range(8)))
    assert found == expected * 2


def test_progress_comes_from_the_load(checkpoint):
    seen = []
    nervus.Policy.load(checkpoint, threads=1, progress=lambda done, total, what: seen.append((done, total, what)))
    assert seen and seen[-1][0] == seen[-1][1] > 0 and all(what for _, _, what in seen)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
