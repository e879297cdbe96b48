"""Which view an epoch shows, and how many there are."""

from __future__ import annotations

from compressor.views._compose import Views
from compressor.views._plan import ViewPlan, choose_count


def test_counted_views_come_round_again():
    plan = ViewPlan(Views(), count=3, seed=0)
    assert [plan.number(epoch) for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_fresh_views_never_do():
    plan = ViewPlan(Views(), count=0, seed=0)
    assert [plan.number(epoch) for epoch in range(4)] == [0, 1, 2, 3]


def test_a_stated_count_is_kept_without_comment():
    assert choose_count(5, epochs=2, bytes_per_view=10**12, budget_bytes=0) == (5, ())


def test_auto_shows_each_view_a_few_times():
    count, (why,) = choose_count("auto", epochs=30, bytes_per_view=1_000_000, budget_bytes=4 * 10**9)
    assert 30 / count >= 2
    assert str(count) == why.choice
    assert "the teacher answers each once" in why.reason


def test_auto_never_asks_for_more_disk_than_there_may_be():
    count, (why,) = choose_count("auto", epochs=300, bytes_per_view=10**9, budget_bytes=4 * 10**9)
    assert count == 4
    assert "do not fit into distill.cache_gb = 4" in why.reason


def test_auto_shows_fresh_views_when_not_one_can_be_kept():
    count, (why,) = choose_count("auto", epochs=30, bytes_per_view=10**9, budget_bytes=10**8)
    assert count == 0
    assert why.choice == "0 (fresh views)"


def test_one_epoch_has_one_view():
    assert choose_count("auto", epochs=1, bytes_per_view=1, budget_bytes=100)[0] == 1
