"""Messages of scanners in XML, each the result of one scan. The image itself is never read into Luxor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from google.protobuf.timestamp_pb2 import Timestamp

from libs.client.clearance.controls import scan_of
from libs.client.clearance.scans.mapping import REFERENCES, Fixed, ScanMapping
from libs.client.errors import LuxorError
from libs.customs.time import parse_instant
from libs.files.xml_file import XmlError, root_of
from luxor.clearance.v1.controls_pb2 import ScanRecord

MESSAGES_MAX: Final = 10_000
"""Messages of one run."""
BYTES_MAX: Final = 1_000_000
"""Bytes of a message: references and codes take some thousand, an image more."""
DEPTH_MAX: Final = 32
IMAGE_BYTES_MAX: Final = 4_000_000_000
"""Bytes of a file beside the message of which the SHA-256 is computed."""
IDENTITY_CHARACTERS_MAX: Final = 256
_CONTROLS: Final = range(1, 100)


@dataclass(frozen=True, slots=True)
class ScanMessage:
    """What a message states."""

    file: str
    references: Mapping[str, str]
    """Numbers that name the goods, by the names of luxor.clearance.v1.StatusQuery, the most exact first."""
    control: int
    """Number of the control; 0 where the message states none."""
    record: ScanRecord
    """The scan, without consignment and number."""
    request_id: str
    """Follows from the identity of device and message, and makes the recording idempotent."""


def messages_at(paths: Sequence[Path]) -> list[Path]:
    """Return the named files, and those in named directories that end in .xml, by name; raise LuxorError SCAN_MESSAGES_UNFIT."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(each for each in path.iterdir() if each.suffix.lower() == ".xml" and each.is_file())
        else:
            found.append(path)
    if not 0 < len(found) <= MESSAGES_MAX:
        named = ", ".join(map(str, paths))
        raise LuxorError.from_reason("SCAN_MESSAGES_UNFIT", path=named, value=len(found), most=MESSAGES_MAX)
    return found


def read_messages(paths: Sequence[Path], mapping: ScanMapping) -> tuple[list[ScanMessage], list[dict[str, Any]]]:
    """Return the messages of files, and the plain results of those that are refused; one bad message stops no other."""
    messages, results = [], []
    for path in paths:
        try:
            messages.append(read_message(path, mapping))
        except LuxorError as error:
            results.append(refused(str(path), error))
    return messages, results


def refused(file: str, error: LuxorError) -> dict[str, Any]:
    """Return the plain result of a message that is refused."""
    said = {"reason": error.reason, "path": error.path, "message": error.sentence, "hint": error.hint}
    return {"file": file, "outcome": "refused", "error": said}


def read_message(path: Path, mapping: ScanMapping) -> ScanMessage:
    """Read one message; raise LuxorError with its file, the path of the element, and what to do."""
    return _Reader(path, mapping).message()


class _Reader:
    """Reads the fields of one message."""

    def __init__(self, path: Path, mapping: ScanMapping) -> None:
        self._path = path
        self._mapping = mapping
        self._fields = mapping.fields
        self._root = self._parsed()

    def message(self) -> ScanMessage:
        """Return what the message states."""
        identity, device = self._required("message"), self._required("device")
        if len(identity) > IDENTITY_CHARACTERS_MAX:
            raise self._unfit("message", identity, f"it has more than {IDENTITY_CHARACTERS_MAX} characters")
        references = {query: text for name, query in REFERENCES.items() if (text := self._text(name))}
        if not references:
            raise self._missing(next(name for name in REFERENCES if getattr(self._fields, name)))
        result = self._result()
        with_image = result != "unreadable" or bool(self._text("image"))
        record = scan_of(
            "",
            0,
            result=result,
            taken_at_micros=self._instant("taken_at"),
            device=device,
            place=self._required("place") if result == "suspicious" else self._text("place"),
            image=self._required("image") if with_image else "",
            sha256=self._sha256() if with_image else "",
            media_type=self._required("media_type") if with_image else "",
            image_analyst=self._text("image_analyst"),
        )
        digest = sha256(f"{device}\0{identity}".encode()).hexdigest()
        return ScanMessage(str(self._path), references, self._control(), record, f"scan-{digest[:48]}")

    def _parsed(self) -> Element:
        try:
            if not self._path.is_file():
                raise XmlError(0, "this is no file")
            with self._path.open("rb") as file:
                return root_of(file.read(BYTES_MAX + 1), bytes_max=BYTES_MAX, depth_max=DEPTH_MAX)
        except XmlError as error:
            raise self._error("SCAN_MESSAGE_MALFORMED", "", "", why=str(error), bytes_max=BYTES_MAX) from None
        except OSError as error:
            raise self._error("SCAN_MESSAGE_MALFORMED", "", "", why=error.strerror, bytes_max=BYTES_MAX) from None

    def _text(self, name: str) -> str:
        """Return the text of a field, "" where the message has none. Several places of one image are joined."""
        path = getattr(self._fields, name)
        if path is None or isinstance(path, Fixed):
            return "" if path is None else path.value
        try:
            texts = list(dict.fromkeys(text for text in self._mapping.texts(self._root, path) if text))
        except ValueError as error:
            raise self._unfit(name, "", str(error)) from None
        if len(texts) > 1 and name != "place":
            raise self._unfit(name, texts[1], f"the message has {len(texts)} texts there, and a scan has one")
        return "; ".join(texts)

    def _required(self, name: str) -> str:
        text = self._text(name)
        if not text:
            raise self._missing(name)
        return text

    def _result(self) -> str:
        code = self._required("result")
        if code not in self._mapping.results:
            known = ", ".join(self._mapping.results)
            raise self._error("SCAN_CODE_UNKNOWN", "result", code, known=known)
        return self._mapping.results[code]

    def _instant(self, name: str) -> int:
        text = self._required(name)
        try:
            micros = parse_instant(text)
        except ValueError as error:
            raise self._unfit(name, text, str(error)) from None
        try:
            Timestamp().FromMicroseconds(micros)
        except ValueError:
            raise self._unfit(name, text, f"{text!r} is outside of the years 1 to 9999 by its offset") from None
        return micros

    def _control(self) -> int:
        text = self._text("control")
        if text and not (text.isascii() and text.isdigit() and int(text) in _CONTROLS):
            raise self._unfit("control", text, "a control has a number from 1 to 99")
        return int(text or 0)

    def _sha256(self) -> str:
        """Return the SHA-256 that the message states, or that of the file beside it, which is only hashed."""
        if self._fields.sha256:
            return self._required("sha256").lower()
        name = self._required("image_file")
        file = self._path.parent / name
        try:
            if Path(name).name != name or file.is_symlink() or not file.is_file():
                raise self._unfit("image_file", name, "there is no file of this name beside the message")
            if file.stat().st_size > IMAGE_BYTES_MAX:
                raise self._unfit("image_file", name, f"the file has more than {IMAGE_BYTES_MAX} bytes")
            with file.open("rb") as image:
                return file_digest(image, "sha256").hexdigest()
        except OSError as error:
            raise self._unfit("image_file", name, f"the file beside the message: {error.strerror}") from None

    def _missing(self, name: str) -> LuxorError:
        return self._error("SCAN_ELEMENT_MISSING", name, "")

    def _unfit(self, name: str, value: str, cause: str) -> LuxorError:
        return self._error("SCAN_ELEMENT_UNFIT", name, value, why=cause)

    def _error(self, reason: str, name: str, value: str, **facts: object) -> LuxorError:
        path = getattr(self._fields, name) if name else ""
        return LuxorError.from_reason(reason, path=path, value=value, file=self._path, field=name, **facts)
