"""What one process makes of the server's clock."""

from __future__ import annotations

from mediastore.clocks import ClockWatch


def test_a_bot_lets_nothing_go_on():
    bot, sweeper = (ClockWatch(600.0, lambda: (0.0, 0.0)) for _ in range(2))
    sweeper.sweeps = True

    assert bot.heard(0, 0, "1 7200000 elsewhere") is None
    assert sweeper.heard(0, 0, "1 7200000 elsewhere") == 0.0
