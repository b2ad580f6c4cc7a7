"""Who declares and under which scheme tax is collected: what consignments of a carrier, seller and market have in common."""

import datetime as dt

from libs.simulator.catalogue import Catalogue
from libs.simulator.numbers import australian_business_number, uk_vat_number
from libs.simulator.world import Carrier, Platform, Seller, World
from luxor.consignment.v1 import consignment_pb2 as pb

PLATFORM, POST, STANDARD, OVER_LIMIT, GIFT = range(5)
"""Tax collected at sale; by the post from the consignee; at the border; over the limit of low value; gift."""

EU_REFORM = dt.date(2026, 7, 1)
"""From here the relief code C07 leaves e-commerce and F53 marks standard VAT (Council Regulation (EU) 2026/382)."""

_SCHEME_OF_MARKET = {
    "EU": pb.SCHEME_IOSS,
    "GB": pb.SCHEME_UK_SUPPLY_VAT,
    "AU": pb.SCHEME_GST_LVG,
    "NO": pb.SCHEME_VOEC,
    "CH": pb.SCHEME_CH_MAIL_ORDER,
    "NZ": pb.SCHEME_GST_LVG,
}


class Schemes:
    """Serialised Consignments with the elements that depend on scheme, market, seller, carrier and gateway only."""

    def __init__(self, world: World, catalogue: Catalogue) -> None:
        self._world, self._catalogue = world, catalogue
        self._fragments: dict[tuple[int, str, int, str, str, int, bool], bytes] = {}

    def fragment(
        self, scheme: int, market: str, seller: Seller, carrier: Carrier, gateway: int, reformed: bool
    ) -> bytes:
        """Return the fragment; `reformed` says whether the day is on or after EU_REFORM, `gateway` is a place's index."""
        key = (scheme, market, seller.platform, seller.ioss, carrier.filer, gateway, reformed)
        found = self._fragments.get(key)
        if found is None:
            found = self._make(scheme, market, seller, carrier, gateway, reformed)
            self._fragments[key] = found
        return found

    def _make(self, scheme: int, market: str, seller: Seller, carrier: Carrier, gateway: int, reformed: bool) -> bytes:
        message = pb.Consignment(nature=pb.NATURE_GIFT if scheme == GIFT else pb.NATURE_SALE, procedure="4000")
        message.additional_procedures.extend(self._procedures(scheme, market, reformed))
        message.incoterm = "DDP" if scheme == PLATFORM else "DAP"
        message.prices_include_tax = False
        self._declarant(message, scheme, seller, carrier)
        if scheme == PLATFORM:
            message.fiscal_references.add(scheme=_SCHEME_OF_MARKET[market], number=self._number(market, seller))
        if scheme == POST and market == "EU":
            reference = message.fiscal_references.add(scheme=pb.SCHEME_SPECIAL_ARRANGEMENTS)
            reference.number = carrier.party.identifier
        if scheme in (OVER_LIMIT, STANDARD, POST):
            message.payment_method = "E"
        place = self._catalogue.places[gateway]
        message.goods_location, message.presentation_office = place.gate, place.office
        return message.SerializeToString(deterministic=True)

    @staticmethod
    def _procedures(scheme: int, market: str, reformed: bool) -> list[str]:
        if market != "EU" or scheme == OVER_LIMIT:
            return []
        if scheme == GIFT:
            return ["C08"]
        special = {PLATFORM: ["F48"], POST: ["F49"], STANDARD: ["F53"] if reformed else []}[scheme]
        return special if reformed else ["C07", *special]

    def _declarant(self, message: pb.Consignment, scheme: int, seller: Seller, carrier: Carrier) -> None:
        platform = self._platform(seller)
        if scheme == PLATFORM and platform is not None:
            message.declarant.CopyFrom(platform.party)
            message.declarant_role = pb.DECLARANT_ROLE_DEEMED_IMPORTER
            message.representative.CopyFrom(carrier.party)
            message.representation = pb.REPRESENTATION_DIRECT
            return
        message.declarant.CopyFrom(carrier.party)
        postal = scheme in (POST, GIFT) and carrier.service == "post"
        message.declarant_role = pb.DECLARANT_ROLE_CARRIER if postal else pb.DECLARANT_ROLE_REPRESENTATIVE

    def _platform(self, seller: Seller) -> Platform | None:
        return self._world.platforms[seller.platform] if seller.platform >= 0 else None

    def _number(self, market: str, seller: Seller) -> str:
        """The number under which tax is collected at sale; each platform has its own in each market."""
        if market == "EU":
            platform = self._platform(seller)
            return seller.ioss if platform is None else platform.number
        body = 2_410_013 + 1_709 * seller.platform
        return {
            "GB": uk_vat_number(body),
            "AU": australian_business_number(100 * body),
            "NO": f"{body:07d}",
            "CH": f"CHE{100 * body:09d}",
            "NZ": f"{100 * body:09d}",
        }[market]


def collects_at_sale(market: str, seller: Seller, world: World) -> bool:
    """Return whether tax on a seller's low value goods is collected at sale in a market."""
    if market != "EU":
        return seller.platform >= 0
    return bool(seller.ioss) if seller.platform < 0 else bool(world.platforms[seller.platform].number)
