"""Bank statements of tests, camt.053.001.02 and .08, as the message definition of ISO 20022 orders their elements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

IBAN = "DE89370400440532013000"
OTHER = "GB82WEST12345698765432"


def amount(text: str, currency: str = "EUR") -> str:
    return f'<Amt Ccy="{currency}">{text}</Amt>'


def details(text: str = "", *, own: str = "", end_to_end: str = "", structured: str = "", free: str = "") -> str:
    """Details of a transaction; an amount is that of camt.053.001.08."""
    refs = (f"<AcctSvcrRef>{own}</AcctSvcrRef>" if own else "") + (
        f"<EndToEndId>{end_to_end}</EndToEndId>" if end_to_end else ""
    )
    remittance = (f"<Ustrd>{free}</Ustrd>" if free else "") + (
        f"<Strd><CdtrRefInf><Ref>{structured}</Ref></CdtrRefInf></Strd>" if structured else ""
    )
    return (
        f"<TxDtls>{f'<Refs>{refs}</Refs>' if refs else ''}{amount(text) + '<CdtDbtInd>CRDT</CdtDbtInd>' if text else ''}"
        f"{f'<RmtInf>{remittance}</RmtInf>' if remittance else ''}</TxDtls>"
    )


def entry(
    text: str,
    *parts: str,
    direction: str = "CRDT",
    reference: str = "",
    status: str = "BOOK",
    reversal: bool = False,
    batch: int | None = None,
    version: str = "08",
    currency: str = "EUR",
) -> str:
    state = f"<Cd>{status}</Cd>" if version == "08" else status
    count = f"<Btch><NbOfTxs>{batch}</NbOfTxs></Btch>" if batch is not None else ""
    content = f"<NtryDtls>{count}{''.join(parts)}</NtryDtls>" if parts or count else ""
    return (
        f"<Ntry>{amount(text, currency)}<CdtDbtInd>{direction}</CdtDbtInd>{'<RvslInd>true</RvslInd>' if reversal else ''}"
        f"<Sts>{state}</Sts><BookgDt><Dt>2026-11-02</Dt></BookgDt>"
        f"{f'<AcctSvcrRef>{reference}</AcctSvcrRef>' if reference else ''}<BkTxCd/>"
        f"{content}</Ntry>\n"
    )


def balance(code: str, text: str) -> str:
    direction = "DBIT" if text.startswith("-") else "CRDT"
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{amount(text.removeprefix('-'))}"
        f"<CdtDbtInd>{direction}</CdtDbtInd><Dt><Dt>2026-11-02</Dt></Dt></Bal>\n"
    )


def statement(
    entries: Sequence[str], opening: str, closing: str, *, number: str = "7", iban: str = IBAN, year: str = "2026"
) -> str:
    sequence = f"<ElctrncSeqNb>{number}</ElctrncSeqNb>" if number else ""
    return (
        f"<Stmt><Id>S{number}</Id>{sequence}<CreDtTm>{year}-11-02T20:00:00</CreDtTm><Acct><Id><IBAN>{iban}</IBAN></Id>"
        f"<Ccy>EUR</Ccy></Acct>\n{balance('OPBD', opening)}{balance('CLBD', closing)}{''.join(entries)}</Stmt>\n"
    )


def document(*statements: str, version: str = "08", pages: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}">'
        f"<BkToCstmrStmt><GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-02T20:00:00</CreDtTm>{pages}</GrpHdr>\n"
        f"{''.join(statements)}</BkToCstmrStmt></Document>\n"
    )


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
