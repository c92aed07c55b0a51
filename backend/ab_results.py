"""What an A/B test shows: shares of users, and the difference with an interval that may be looked at at any time."""

import math
from collections.abc import Mapping
from functools import partial

from backend.damaged_rows import mended
from backend.job_rows import time_of
from backend.online import rate
from backend.settings import Settings
from fedmem.contracts import AbTest, ArmResult, Effect
from fedmem.contracts.ab_tests import Arm
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.ab_tests import AbTestStore, ArmCounts

ALPHA = 0.05
FEWEST = 100  # users of an arm, below which the normal approximation is not to be trusted
TYPICAL = 0.02  # a difference of shares as one expects; the interval is tightest for such


def result_of(test: AbTestRow, store: AbTestStore, settings: Settings) -> AbTest:
    """Show a test and what it has shown by now. One whose row is damaged says so."""
    return mended(
        f"A/B test {test.id}", test, partial(_whole_result_of, store=store, settings=settings), "verdict", _harmless
    )


def _harmless(test: AbTestRow) -> dict[str, object]:
    ended_at = None if test.ended_at is None else 0.0
    times = {"started_at": 0.0, "ended_at": ended_at, "ended_because": None}
    return {"share": test.share if test.damage is None else 0.0} | times | {"control": "", "treatment": ""}


def _whole_result_of(test: AbTestRow, store: AbTestStore, settings: Settings) -> AbTest:
    control, treatment = store.counts(test)
    hits = effect(control.hits, control.users, treatment.hits, treatment.users)
    clicks = effect(control.clicks, control.users, treatment.clicks, treatment.users)
    return AbTest(
        id=test.id,
        dataset=test.dataset,
        share=test.share,
        started_at=time_of(test.started_at),
        ended_at=None if test.ended_at is None else time_of(test.ended_at),
        ended_because=test.ended_because,
        attribution_hours=settings.attribution_hours,
        control=_arm("control", control),
        treatment=_arm("treatment", treatment),
        hits=hits,
        clicks=clicks,
        verdict=verdict(control, treatment, hits, clicks, unnoted=test.ended_at is None and not settings.impressions),
    )


def effect(control: int, control_users: int, treatment: int, treatment_users: int) -> Effect | None:
    """Compare two shares by an always-valid 95 % interval: it errs in 5 % of tests however often they are looked at.

    That of the mixture sequential probability ratio test with a normal prior of the difference, of TYPICAL scale
    (Johari, Koomen, Pekelis and Walsh, "Always valid inference", 2022, section 5):
    |d - θ| ≤ √( V (V + τ²)/τ² · (ln((V + τ²)/V) - 2 ln α) ), where V is the variance of the difference d. The shares
    in V are shrunk by a success and a failure each (Agresti and Caffo, 2000), so that none is 0. None of fewer than
    FEWEST users in either arm.
    """
    if min(control_users, treatment_users) < FEWEST:
        return None
    value = treatment / treatment_users - control / control_users
    variance = _variance(control, control_users) + _variance(treatment, treatment_users)
    prior = TYPICAL**2
    penalty = math.log((variance + prior) / variance) - 2 * math.log(ALPHA)
    half = math.sqrt(variance * (variance + prior) / prior * penalty)
    low, high = max(value - half, -1.0), min(value + half, 1.0)
    return Effect(value=value, low=low, high=high, real=low > 0 or high < 0)


def _variance(successes: int, users: int) -> float:
    share = (successes + 1) / (users + 2)
    return share * (1 - share) / users


def _arm(arm: Arm, counts: ArmCounts) -> ArmResult:
    return ArmResult(
        arm=arm,
        model_version=counts.version,
        users=counts.users,
        waiting=counts.waiting,
        hits=counts.hits,
        clicks=counts.clicks,
        hit_rate=rate(counts.hits, counts.users),
        click_rate=rate(counts.clicks, counts.users),
    )


def verdict(
    control: ArmCounts, treatment: ArmCounts, hits: Effect | None, clicks: Effect | None, *, unnoted: bool
) -> str:
    """Say in a sentence what can be said by now of hits and, where there are any, of clicks.

    ``unnoted``: the test runs, and no answer of it is noted, for which there is a remedy.
    """
    if hits is None or clicks is None:
        none = "; no answer is noted: set FEDMEM_IMPRESSIONS" if unnoted else ""
        few = " and ".join(
            f"{arm.users:,} of the {name} ({arm.waiting:,} more wait)"
            for name, arm in (("control", control), ("treatment", treatment))
        )
        return f"too few users are judged yet: {few}, and each arm needs {FEWEST}{none}"
    return _compared({"hits": hits} | ({"clicks": clicks} if control.clicks or treatment.clicks else {}))


def _compared(effects: Mapping[str, Effect]) -> str:
    """Name the better arm, by each outcome whose difference is real."""
    real = {name: effect for name, effect in effects.items() if effect.real}
    if not real:
        return f"no difference is shown: {_intervals(effects)}"
    better = {name: "treatment" if effect.low > 0 else "control" for name, effect in real.items()}
    if len(set(better.values())) > 1:
        each = ", ".join(f"the {arm} is better by {name}" for name, arm in better.items())
        return f"{each}: {_intervals(effects)}"
    rest = {name: effect for name, effect in effects.items() if name not in real}
    open_yet = f"; none is shown in {_intervals(rest)}" if rest else ""
    return f"the {next(iter(better.values()))} is better: {_intervals(real)}{open_yet}"


def _intervals(effects: Mapping[str, Effect]) -> str:
    shown = ", ".join(f"{name} {effect.low:+.3f} to {effect.high:+.3f}" for name, effect in effects.items())
    return f"{shown}, 95 % interval{'s' if len(effects) > 1 else ''}"
