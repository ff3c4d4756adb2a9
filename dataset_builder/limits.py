"""Limits on input files; a file over one is refused before it fills the memory or the time.

What is read may come from anywhere: an archive of a few kilobytes can unpack to gigabytes, a
workbook with two cells can mean a table of billions, and one line can be as long as a file. The
largest edition has 75,000 rows of a few hundred characters.
"""

from __future__ import annotations

# No file of any edition comes near this size.
MAX_FILE_BYTES = 1 << 28
# An archive in an archive in an archive; AI Hub's own packages need two levels.
MAX_ARCHIVE_DEPTH = 3
# Text packs to a tenth, repetitive text to a thirtieth. What an archive unpacks to may be the
# larger of so many times its size and so many bytes.
MAX_UNPACKED_TIMES, MAX_UNPACKED_BYTES = 100, 1 << 26
# A hundred times the largest edition's; a cell takes some thirty bytes even if it is empty.
MAX_CELLS = 10_000_000
# A row, or a record of the JSON edition, in bytes or characters. Each row takes many times its
# size in memory.
MAX_ROWS, MAX_ROW_LENGTH = 500_000, 1 << 20
