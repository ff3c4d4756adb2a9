"""A run as one GGUF file: merged, converted, read back, and only then under its name."""

from __future__ import annotations

import glob
import shutil
import sys
import tempfile
import time
from pathlib import Path

from kosent_hub.exporting import converter, read_back
from kosent_hub.exporting.read_back import Checks
from kosent_hub.exporting.sentencepiece_file import write_sentencepiece
from kosent_hub.models.locate import Located
from kosent_hub.models.weights.merged import Merged, write_merged
from kosent_hub.training.push import fill_merged
from model_card.facts import gather_folder
from model_card.publishing.errors import KoSentError
from model_card.publishing.files import exclusive, explain_full_disk
from model_card.records import Run


def write_gguf(
    located: Located, run: Path, record: Run, file: Path, kind: str, *, overwrite: bool
) -> tuple[Merged, Checks]:
    """The merged model as it was between, and what was found equal in `file`, written as `kind`.

    A quantised file is made from the same folder as one in f16, which has to answer as the model
    does; raises KoSentError where it does not, for a file that is there, and without the converter.
    """
    converter.require()
    with exclusive(file, "kosent-export"), explain_full_disk(file):
        refuse_existing(file, overwrite=overwrite)
        name = f".{file.name}.work-"
        for left in file.parent.glob(f"{glob.escape(name)}*"):
            shutil.rmtree(left, ignore_errors=True)
        # A name of its own: the converter of a killed command may still write.
        work = Path(tempfile.mkdtemp(prefix=name, dir=file.parent))
        try:
            merged = write_merged(located, work / "merged", lambda new: fill_merged(run, new))
            checks = _converted(merged, record, work, kind)
            (work / f"{kind}.gguf").replace(file)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return merged, checks


def refuse_existing(file: Path, *, overwrite: bool) -> None:
    """Raise KoSentError for a file that is there, unless it may be overwritten."""
    if file.is_dir():
        raise KoSentError(file, "is a folder", "name a file")
    if file.exists() and not overwrite:
        raise KoSentError(file, "already exists", "name another file, or add --overwrite")


def _converted(merged: Merged, record: Run, work: Path, kind: str) -> Checks:
    """The checks of the file `kind` in the folder `work`, which is made here."""
    write_sentencepiece(merged.folder)
    license_id = gather_folder(merged.folder).license
    source = read_back.source(merged.folder, record.base_model.id, license_id)
    exact = "f16" if kind == "q8_0" else kind
    _convert(merged, work / f"{exact}.gguf", exact, record.model_name)
    texts = read_back.check_tokens(work / f"{exact}.gguf", source)
    equal, largest = read_back.check_replies(work / f"{exact}.gguf", source, exact=True)
    if kind != exact:
        (work / f"{exact}.gguf").unlink()
        _convert(merged, work / f"{kind}.gguf", kind, record.model_name)
        texts = read_back.check_tokens(work / f"{kind}.gguf", source)
        equal, largest = read_back.check_replies(work / f"{kind}.gguf", source, exact=False)
    metadata = read_back.check_metadata(work / f"{kind}.gguf", source)
    return Checks(texts, len(source.replies), equal, largest, metadata)


def _convert(merged: Merged, file: Path, kind: str, name: str) -> None:
    print(f"converting to GGUF, {kind}", file=sys.stderr)
    begun = time.monotonic()
    converter.convert(merged.folder, file, kind, name)
    size = file.stat().st_size / 2**20
    print(f"{size:,.0f} MiB in {time.monotonic() - begun:.0f} s; reading back", file=sys.stderr)
