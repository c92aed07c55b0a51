"""Fewer points where a line has more than can be told apart, so that a long job's charts cost no more than a short's.

Of every series each 2nd, 4th, 8th.. point stays, counted from its first, so that few of them change as a job goes on;
so does its last one. Within what the reader has zoomed in on, as many stay again, which soon are all.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from dashboard.charts.drawing import ROWS, SHOWN, Drawing

MOST = 250  # points of a line: a chart is some 400 pixels wide
Range = tuple[float, float]


def thinned(drawing: Drawing, shown: Range | None = None) -> tuple[Drawing, int]:
    """Thin each line to at most ``MOST`` points; also give the step, 1 where all points stay.

    Args:
        drawing: one whose rows are numbered by ``round``; any other stays as it is.
        shown: the rounds that the reader sees, if not all.
    """
    table = drawing.datasets.get(ROWS)
    if table is None or "round" not in table or len(table) <= MOST:
        return drawing, 1
    points = table["kind"].isin(SHOWN) if "kind" in table else pd.Series(data=True, index=table.index)
    series = (table["series"] if "series" in table else pd.Series("", index=table.index))[points]
    stay, step = _every(series)
    if shown is not None:
        closer, step = _every(series[table.loc[points, "round"].between(*shown)])
        stay = stay.union(closer)
    kept = table[~points | table.index.isin(stay)]
    return replace(drawing, datasets={**drawing.datasets, ROWS: kept}), step


def _every(series: pd.Series) -> tuple[pd.Index, int]:
    """Choose the points of each series that stay; also give the step of the longest series."""
    groups = series.groupby(series)
    position, count = groups.cumcount(), groups.transform("size").astype("int64")
    step = 2 ** np.ceil(np.log2(np.maximum(count / MOST, 1))).astype("int64")
    return series.index[(position % step == 0) | (position == count - 1)], int(step.max()) if len(step) else 1
