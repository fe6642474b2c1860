"""Who a phantom is: latent traits stratified over the cohort, and the participants row that follows from the disease.

The labels are a cartoon of COPDGene and MosMed; no number here is fitted to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DISEASES = ("centrilobular", "paraseptal", "panlobular", "ground_glass")  # truth label = position + 1

# Irrational steps: the fractional parts of index * step fill [0, 1) evenly for any number of subjects.
_FUNCTION_STEP, _COVID_STEP, _SCANNER_STEP = 0.6180339887, 0.4142135624, 0.7320508076

# Share of the cohort up to which a group reaches, and FEV1 points lost to obstruction at its ends.
_HEALTHY, _PRISM = 0.30, 0.40
_LOST_POINTS = ([0.40, 0.52, 0.53, 0.74, 0.75, 0.90, 0.91, 1.0], [14.0, 20.0, 25.0, 46.0, 51.0, 66.0, 73.0, 86.0])
_POINTS_PER_BURDEN, _POINTS_PER_AIRWAY = 140.0, 14.0
_SUBTYPE_WEIGHT = {"centrilobular": 1.0, "paraseptal": 0.35, "panlobular": 1.0}

_CLE_CUTS = (0.004, 0.02, 0.06, 0.13, 0.24)
_PARASEPTAL_CUTS = (0.003, 0.02)
_COVID_CUTS = (0.0, 0.25, 0.50, 0.75)

_MISSING_SHARE = {
    ("fev1pp", "fev1_fvc", "gold"): 0.03,
    ("cle",): 0.05,
    ("paraseptal",): 0.05,
    ("exacerbations",): 0.04,
    ("covid_grade",): 0.03,
    ("pack_years",): 0.03,
    ("bode",): 0.06,
    ("pi10_mm", "wall_area_pct"): 0.05,
    ("gas_trapping_pct",): 0.08,
    ("followup_days", "died"): 0.04,
}


@dataclass(frozen=True)
class Traits:
    """What is decided before the body is made; the target burdens are fractions of the lung."""

    sex: str
    age_years: float
    smoker: bool
    obesity: float  # 0 lean, 1 obese; restricts the chest
    airway: float  # airway disease in arbitrary units, 0 none, 3 severe
    target_burdens: Mapping[str, float]
    sharp_kernel: bool
    low_dose: bool


def draw_traits(index: int, seed: int, rng: np.random.Generator) -> Traits:
    """Draw the traits of the subject at place `index` (from 0) of the cohort.

    Lung function, COVID involvement and scanner come from low-discrepancy sequences over `index` with offsets that
    depend on `seed` alone; all else from `rng`.
    """
    offsets = np.random.default_rng(seed).random(3)
    steps = np.array([_FUNCTION_STEP, _COVID_STEP, _SCANNER_STEP])
    function, covid, scanner = np.mod(offsets + (index + 1) * steps, 1.0)

    smoker = function > 0.5 * _HEALTHY
    obesity = rng.uniform(0.9, 1.0) if _HEALTHY <= function < _PRISM else rng.beta(1.5, 3.0)
    if function < _PRISM:
        emphysema_points, airway = (rng.uniform(0.0, 4.0) if smoker else 0.0), abs(rng.normal(0.0, 0.3))
    else:
        lost = np.interp(function, *_LOST_POINTS)
        share = rng.uniform(0.4, 0.95)
        emphysema_points, airway = share * lost, (1.0 - share) * lost / _POINTS_PER_AIRWAY
    return Traits(
        sex="F" if rng.random() < 0.47 else "M",
        age_years=round(float(np.clip(rng.normal(58.0 + 8.0 * function, 7.0), 40.0, 85.0)), 1),
        smoker=smoker,
        obesity=float(obesity),
        airway=float(airway),
        target_burdens=_emphysema_mix(emphysema_points, rng) | {"ground_glass": _ground_glass_target(covid)},
        sharp_kernel=scanner >= 0.5,
        low_dose=scanner % 0.5 >= 0.25,
    )


def participant_row(
    participant_id: str, traits: Traits, burdens: Mapping[str, float], rng: np.random.Generator
) -> dict[str, Any]:
    """Return the participants row that follows from the true burdens, with noise and missing values (None).

    Parameters
    ----------
    participant_id : str
    traits : Traits
    burdens : mapping
        `DISEASES` -> true fraction of the lung.
    rng : numpy Generator
        Biological scatter, readers' errors, and what is missing.

    Returns
    -------
    dict
        Columns of ``schemas/participants.schema.yaml``; the image is relative to the cohort's folder.
    """
    extent = sum(weight * burdens[name] for name, weight in _SUBTYPE_WEIGHT.items())
    row: dict[str, Any] = {"participant_id": participant_id, "image": f"phantom/{participant_id}/ct.nii.gz"}
    row |= _spirometry(traits, extent, burdens["ground_glass"], rng)
    row |= _readings(burdens, rng)
    row |= _history(traits, row["fev1pp"], rng)
    row |= _measures(traits, row["fev1pp"], extent, rng)
    row |= _follow_up(traits, row["fev1pp"], extent, rng)
    for columns, share in _MISSING_SHARE.items():
        if rng.random() < share:
            row |= dict.fromkeys(columns)
    return row


def gold_stage(fev1pp: float, fev1_fvc: float) -> int:
    """Return the spirometric GOLD stage 0-4, or -1 for PRISm (ratio preserved, FEV1 below 80 % of predicted)."""
    if fev1_fvc >= 0.70:
        return 0 if fev1pp >= 80 else -1
    return 1 + sum(fev1pp < limit for limit in (80, 50, 30))


def _emphysema_mix(points: float, rng: np.random.Generator) -> dict[str, float]:
    """Split emphysema worth so many FEV1 points into the three subtypes' target burdens."""
    mix = rng.dirichlet([2.3, 0.5, 1.0])
    weights = np.array(list(_SUBTYPE_WEIGHT.values()))
    total = points / _POINTS_PER_BURDEN / float(mix @ weights)
    burdens = np.minimum(total * mix, [0.5, 0.07, 0.6])
    return dict(zip(_SUBTYPE_WEIGHT, np.where(burdens < 0.002, 0.0, burdens).tolist(), strict=True))


def _ground_glass_target(quantile: float) -> float:
    """Return the target burden: none in half of the subjects, then falling shares of grade 1 to 4."""
    return float(np.interp(quantile, [0.0, 0.5, 0.51, 0.78, 0.90, 0.96, 1.0], [0.0, 0.0, 0.03, 0.24, 0.5, 0.75, 0.88]))


def _spirometry(traits: Traits, extent: float, ground_glass: float, rng: np.random.Generator) -> dict[str, Any]:
    obstruction = _POINTS_PER_BURDEN * extent + _POINTS_PER_AIRWAY * traits.airway
    restriction = 28.0 * np.clip((traits.obesity - 0.55) / 0.4, 0.0, 1.0) + 8.0 * ground_glass
    fev1pp = 101.0 - obstruction - restriction * np.exp(-obstruction / 25.0) + rng.normal(0.0, 4.5)
    ratio = 0.80 - 0.58 * (1.0 - np.exp(-obstruction / 50.0)) + rng.normal(0.0, 0.02)
    fev1pp, ratio = round(float(np.clip(fev1pp, 11.0, 135.0)), 1), round(float(np.clip(ratio, 0.2, 0.92)), 3)
    return {"fev1pp": fev1pp, "fev1_fvc": ratio, "gold": gold_stage(fev1pp, ratio)}


def _readings(burdens: Mapping[str, float], rng: np.random.Generator) -> dict[str, Any]:
    def read(true: float, cuts: tuple[float, ...], error: float) -> int:
        return int(np.searchsorted(cuts, true * np.exp(rng.normal(0.0, error)), side="left"))

    return {
        "cle": read(burdens["centrilobular"] + 0.15 * burdens["panlobular"], _CLE_CUTS, 0.2),
        "paraseptal": read(burdens["paraseptal"], _PARASEPTAL_CUTS, 0.2),
        "covid_grade": read(burdens["ground_glass"], _COVID_CUTS, 0.05),
    }


def _history(traits: Traits, fev1pp: float, rng: np.random.Generator) -> dict[str, Any]:
    rate = np.exp(-1.9 + 0.55 * traits.airway + 0.016 * (100.0 - fev1pp))
    status = ("current" if rng.random() < 0.45 else "former") if traits.smoker else "never"
    pack_years = rng.gamma(6.0, 7.0) + 0.15 * (100.0 - fev1pp) if traits.smoker else 0.0
    return {
        "exacerbations": int(min(rng.poisson(rate), 9)),
        "age_years": traits.age_years,
        "sex": traits.sex,
        "race": "White" if rng.random() < 0.68 else "Black",
        "smoking_status": status,
        "pack_years": round(float(np.clip(pack_years, 0.0, 180.0)), 1),
    }


def _measures(traits: Traits, fev1pp: float, extent: float, rng: np.random.Generator) -> dict[str, Any]:
    dyspnoea = (100.0 - fev1pp) / 22.0 + rng.normal(0.0, 0.6)  # of mMRC's 0-4
    walk_points = np.clip(np.round((100.0 - fev1pp) / 24.0 + rng.normal(0.0, 0.5) - 0.6), 0, 3)
    lean_point = int(traits.obesity < 0.15 and rng.random() < 0.7)
    obstruction_points = sum(fev1pp <= limit for limit in (64, 49, 35))
    return {
        "bode": int(obstruction_points + np.clip(np.round(dyspnoea) - 1, 0, 3) + walk_points + lean_point),
        "pi10_mm": round(float(3.62 + 0.17 * traits.airway + rng.normal(0.0, 0.07)), 3),
        "wall_area_pct": round(float(58.0 + 2.6 * traits.airway + rng.normal(0.0, 1.3)), 2),
        "gas_trapping_pct": round(
            float(np.clip(9.0 + 95.0 * extent + 7.0 * traits.airway + rng.normal(0.0, 4.0), 0.5, 92.0)), 1
        ),
    }


def _follow_up(traits: Traits, fev1pp: float, extent: float, rng: np.random.Generator) -> dict[str, Any]:
    """Draw a Weibull time to death, and censoring by the study's end (4-10 years) or by dropping out."""
    log_risk = 0.06 * (traits.age_years - 62.0) + 0.022 * (90.0 - fev1pp) + 1.5 * extent + 0.25 * traits.smoker
    death_years = 30.0 * rng.weibull(1.3) * np.exp(-log_risk / 1.3)
    end_years = min(rng.uniform(4.0, 10.0), rng.exponential(30.0))
    return {
        "followup_days": max(1, round(365.25 * float(min(death_years, end_years)))),
        "died": int(death_years <= end_years),
    }


def random_stream(seed: int, index: int, name: str) -> np.random.Generator:
    """Return the generator of one purpose of one subject; purposes do not disturb each other."""
    key: npt.NDArray[np.uint8] = np.frombuffer(name.encode(), dtype=np.uint8)
    return np.random.default_rng([seed, index, *key.tolist()])
