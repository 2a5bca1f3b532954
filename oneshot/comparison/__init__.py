"""Methods beside each other, over seeds: what they found, judged beside random and the largest architecture."""

from .comparing import Compared, compare
from .verdicts import Judged, Ranked, judge, sentence, table

__all__ = ["Compared", "Judged", "Ranked", "compare", "judge", "sentence", "table"]
