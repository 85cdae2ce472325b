"""Loading and inferring leave the interpreter to other threads."""
import concurrent.futures
import sys
import threading
import time

import nervus


def another_goes_on(call, seconds):
    """Whether another thread gets the interpreter during a call, which is made until a busy machine gets to it."""
    begun, went_on = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: begun.wait() and went_on.set())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # no thread is made to leave the interpreter: it has to let it go
    try:
        other.start()
        deadline = time.monotonic() + seconds
        begun.set()
        while not went_on.is_set() and time.monotonic() < deadline:
            call()
        return went_on.is_set()
    finally:
        sys.setswitchinterval(interval)
        other.join()


def test_another_thread_goes_on(checkpoint, policy, observation):
    tensors = policy.preprocess(**observation)
    assert not another_goes_on(lambda: sum(range(1000)), 0.2), "between calls"
    assert another_goes_on(lambda: nervus.Policy.load(checkpoint, threads=1, steps=range(1, 101)), 60)
    assert another_goes_on(lambda: policy.infer(**observation), 60)
    assert another_goes_on(lambda: policy.infer_tensors(tensors), 60)


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
