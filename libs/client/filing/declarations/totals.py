"""What follows for a consignment from its items and documents."""

from collections.abc import Iterator, Mapping, Sequence

from luxor.consignment.v1.consignment_pb2 import Consignment, Document


def add_gross_mass(message: Consignment) -> bool:
    """Set the gross mass, where no total is stated, to the sum of the items if each has one, and return whether this was so."""
    # Total gross weight is by its definition that of all goods with their packing.
    if message.HasField("gross_mass_mg") or not all(item.HasField("gross_mass_mg") for item in message.items):
        return False
    message.gross_mass_mg = sum(item.gross_mass_mg for item in message.items)
    return True


def transport_document_of(message: Consignment, codes: Sequence[Sequence[str]]) -> tuple[str, Document] | None:
    """Return the one document of the first codes of which there are documents, with its path; None for several different ones."""
    for group in codes:
        found = {
            each.reference: (path, each)
            for path, each in _documents(message)
            if each.type[1:] in group and each.reference
        }
        if found:
            return next(iter(found.values())) if len(found) == 1 else None
    return None


def add_transport_documents(message: Consignment, codes: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, str]:
    """Set house and master document from documents of their types, and return the paths of the documents by their names."""
    paths = {}
    for name, groups in codes.items():
        found = transport_document_of(message, groups)
        if found is not None:
            paths[name], document = found
            target = getattr(message, name)
            target.number, target.type = document.reference, f"N{document.type[1:]}"
    return paths


def _documents(message: Consignment) -> Iterator[tuple[str, Document]]:
    for name in ("previous_documents", "supporting_documents"):
        for place, each in enumerate(getattr(message, name)):
            yield f"{name}[{place}]", each
    for number, item in enumerate(message.items):
        for place, each in enumerate(item.supporting_documents):
            yield f"items[{number}].supporting_documents[{place}]", each
