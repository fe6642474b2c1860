"""What the negatives of a training will be, before it begins: how much of its queues is filled, and how old it is.

A queue that a landmark fills once an epoch holds keys of an encoder that has moved on since. The positive is new, and
is told from old keys by their age: the encoder learns nothing of the subjects.
"""

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drasclr_core.config.settings import PretrainSettings

logger = logging.getLogger(__name__)

MOST_STALE = 0.5
"""Share of the slots that may be unfilled or older than the visit before a training warns."""


@dataclass(frozen=True)
class QueueShares:
    """What the slots of the landmarks' queues hold, on average over the steps of a training.

    Attributes
    ----------
    unfilled, older, fresh : float
        Shares of slots: without a key yet; with one of an earlier visit of the landmark; with one of the same visit.
    steps_between_visits : int
        From the end of a visit to the next one of the same landmark, on average.
    """

    unfilled: float
    older: float
    fresh: float
    steps_between_visits: int


def queue_shares(batches: npt.NDArray[np.integer], batch_size: int, queue_size: int, epochs: int) -> QueueShares:
    """Return the shares of a training with a queue per landmark.

    Parameters
    ----------
    batches : (L,) int array
        Of a visit of each landmark, as of `batches.batches_per_landmark`; each is visited once an epoch.
    batch_size, queue_size, epochs : int
        B, K, and the visits of each landmark.
    """
    filled, fresh = [], []
    for visit in batches:
        before = np.arange(epochs * visit)  # batches of the landmark before each of its batches
        filled.append(np.minimum(before * batch_size, queue_size))
        fresh.append(np.minimum(before % max(visit, 1) * batch_size, queue_size))
    unfilled = 1 - np.concatenate(filled).mean() / queue_size
    new = np.concatenate(fresh).mean() / queue_size
    visited = batches[batches > 0]
    between = int(round(float(batches.sum() - visited.mean() + 1)))
    return QueueShares(float(unfilled), float(1 - unfilled - new), float(new), between)


def warn_of_stale(batches: npt.NDArray[np.integer], settings: PretrainSettings) -> None:
    """Warn where the landmarks' queues will hold keys of earlier visits, or none, more often than not.

    Parameters
    ----------
    batches : (L,) int array
        As for `queue_shares`.
    settings : PretrainSettings
        Of a training with at least one batch.
    """
    if settings.negatives != "queue" or settings.queues != "landmark":
        return
    shares = queue_shares(batches, settings.batch_size, settings.queue_size, settings.epochs)
    if shares.unfilled + shares.older <= MOST_STALE:
        return
    better = "fresh" if batches.max() > 1 else "batch"
    logger.warning(
        "pretrain.negatives is 'queue', but of the %d slots of a landmark's queue %.0f %% will be unfilled and %.0f %% "
        "older than the visit, %.0f %% fresh (%d landmarks, %.0f batches of %d subjects a visit, %d epochs, %d steps "
        "between two visits): old keys are told from the positive by their age, and the encoder collapses. "
        "Use pretrain.negatives: %s.",
        *(settings.queue_size, 100 * shares.unfilled, 100 * shares.older, 100 * shares.fresh),
        *(len(batches), batches.mean(), settings.batch_size, settings.epochs, shares.steps_between_visits, better),
    )
