import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coun.seeds import Seeds

names = st.lists(st.one_of(st.text("abc", min_size=1), st.integers(0, 9)), max_size=3)


def test_a_draw_depends_on_the_seed_and_the_path_only():
    first = torch.rand(4, generator=Seeds(3).torch("views", 7))
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(torch.rand(4, generator=Seeds(3).torch("views", 7)), first)
    others = [Seeds(4).torch("views", 7), Seeds(3).torch("views", 8), Seeds(3).torch("order", 7)]
    assert not any(torch.equal(torch.rand(4, generator=g), first) for g in others)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), names, names)
def test_a_fork_is_a_longer_path(seed, head, tail):
    assert Seeds(seed).fork(*head).number(*tail) == Seeds(seed).number(*head, *tail)
    assert Seeds(seed).fork(*head).fork(*tail) == Seeds(seed).fork(*head, *tail)


def test_numbers_have_63_bits_and_never_change():
    # A run's record promises the same bits next year.
    assert Seeds(0).number("init") == 1519069808562059438
    assert all(0 <= Seeds(s).number("x") < 2**63 for s in range(50))


def test_numpy_and_torch_streams_are_reproducible():
    draws = [Seeds(1).numpy("a").random(3) for _ in range(2)]
    assert np.array_equal(*draws)


def test_neighbouring_positions_are_not_correlated():
    firsts = torch.stack([torch.rand(1, generator=Seeds(0).torch("v", n)) for n in range(400)])
    assert firsts.mean().item() == pytest.approx(0.5, abs=0.06)
    lag = torch.corrcoef(torch.stack([firsts[:-1, 0], firsts[1:, 0]]))[0, 1]
    assert abs(lag) < 0.15


def test_seeding_draws_as_torch_does_and_leaves_nothing_for_absent_accelerators(monkeypatch):
    torch.manual_seed(Seeds(2).number("init"))
    expected = torch.rand(3)
    with Seeds(2).as_global("init"):
        assert torch.equal(torch.rand(3), expected)
    if torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available():
        return
    # torch would keep a call for each accelerator that may appear, with the stack trace of now.
    monkeypatch.setattr("traceback.format_stack", lambda: pytest.fail("a call is kept"))
    with Seeds(2).as_global("init"):
        assert torch.equal(torch.rand(3), expected)


def test_the_global_generator_is_restored_even_after_an_error():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with Seeds(0).as_global("init"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with Seeds(0).as_global("init"):
        assert torch.equal(torch.rand(2), inside)
    torch.manual_seed(5)
    with pytest.raises(RuntimeError), Seeds(0).as_global("init"):
        raise RuntimeError
    assert torch.equal(torch.rand(2), expected)


def test_threads_do_not_share_the_global_generator():
    """Each draws what it draws alone, and the caller's state is restored."""

    def draw(seed):
        with Seeds(seed).as_global("dropout"):
            first = torch.rand(1)
            time.sleep(0.001)
            return torch.cat([first, torch.rand(1)])

    alone = [draw(seed) for seed in range(8)]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(draw, range(8)))
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_lacks():
    """A loader may be forked while another thread draws."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with Seeds(0).as_global("dropout"):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that waits for ever
        with Seeds(0).as_global("init"):
            os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
