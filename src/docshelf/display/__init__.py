"""What people see: HTML in notebooks, progress bars; and looks into a store.

from docshelf.display import sample, summary, to_pandas

summary(shelf)  # counts, sizes, the last sync
sample(shelf, 5)  # some entries by chance
to_pandas(shelf, {"author": "Ann"})  # as a DataFrame; needs docshelf[pandas]
"""

from docshelf.display.frames import to_pandas
from docshelf.display.looks import Sample, Summary, sample, summary

__all__ = ["Sample", "Summary", "sample", "summary", "to_pandas"]
