"""Lists of parties are read whole, or refused with the place and the reason."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from services.risk.screening.lists.ofac import load_ofac
from services.risk.screening.lists.opensanctions import COLUMNS, load_opensanctions
from services.risk.screening.lists.own_lists import load_own_csv, load_own_yaml
from services.risk.screening.lists.party_list import EntryKind, EntryName, ListRefused, Quality, country_of
from services.risk.screening.lists.un import load_un
from tests.risk.screening.support import ALT_FILE, SDN_FILE, UN_FILE, ofac, public, un, version

UN = """<?xml version="1.0" encoding="UTF-8"?>
<CONSOLIDATED_LIST dateGenerated="2026-02-27T00:00:09.554Z">
  <INDIVIDUALS>
    <INDIVIDUAL>
      <DATAID>101</DATAID>
      <FIRST_NAME>JOHN</FIRST_NAME><SECOND_NAME>EXAMPLE</SECOND_NAME><THIRD_NAME>DOE</THIRD_NAME>
      <NAME_ORIGINAL_SCRIPT>Джон</NAME_ORIGINAL_SCRIPT>
      <NATIONALITY><VALUE>Democratic People's Republic of Korea</VALUE></NATIONALITY>
      <INDIVIDUAL_ALIAS><QUALITY>Good</QUALITY><ALIAS_NAME>Jack Doe; Jacky Doe</ALIAS_NAME></INDIVIDUAL_ALIAS>
      <INDIVIDUAL_ALIAS><QUALITY>Low</QUALITY><ALIAS_NAME>The  Bear</ALIAS_NAME></INDIVIDUAL_ALIAS>
      <INDIVIDUAL_ALIAS><QUALITY/><ALIAS_NAME/></INDIVIDUAL_ALIAS>
      <INDIVIDUAL_ADDRESS><COUNTRY>Rwanda</COUNTRY></INDIVIDUAL_ADDRESS>
      <INDIVIDUAL_DOCUMENT><TYPE_OF_DOCUMENT>Passport</TYPE_OF_DOCUMENT><NUMBER>X123</NUMBER></INDIVIDUAL_DOCUMENT>
    </INDIVIDUAL>
  </INDIVIDUALS>
  <ENTITIES>
    <ENTITY>
      <DATAID>202</DATAID><FIRST_NAME>EXAMPLE TRADING CO.</FIRST_NAME>
      <ENTITY_ALIAS><QUALITY>f.k.a.</QUALITY><ALIAS_NAME>Sample Ltd</ALIAS_NAME></ENTITY_ALIAS>
    </ENTITY>
  </ENTITIES>
</CONSOLIDATED_LIST>
"""
SDN = (
    '36,"EXAMPLE AIRLINES",-0- ,"CUBA",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- \r\n'
    '173,"DOE, John","individual","SDGT",-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,-0- ,'
    "\"DOB 1964; nationality Niger; Passport A50143448 (Niger); a.k.a. 'THE BEAR'.\"\r\n"
    '200,"BLUE WHALE","vessel","CUBA",-0- ,"CL2685","General Cargo","2597","1098","Cyprus","Some Owner",-0- \r\n\x1a'
)
ALT = '36,12,"aka","EXAMPLE-AIR",-0- \r\n173,13,"fka","DOE, Jack",-0- \r\n\x1a'
OPENSANCTIONS = ",".join(COLUMNS) + (
    '\nNK-1,Person,John Doe,"Jack Doe;""Doe; the younger""",1970-01-01,ru;kp,,P123,"Some programme",,,un_sc_sanctions,'
    "2021-01-01T00:00:00,2026-01-01T00:00:00,2025-06-30T10:00:00\n"
    "NK-2,Company,Example Ltd,,,,,,,,,own,2021-01-01,2026-01-01,2025-07-01\n"
)
OWN_CSV = (
    "id,kind,name,aliases,weak_aliases,countries,identifiers\n1,person,John Doe,Jack Doe;Jacky Doe,Bear,RU;KP,P1;P2\n"
)
OWN_YAML = """\
source: DESK
published: 2026-11-01
entries:
  - {id: "1", kind: person, name: John Doe, aliases: [Jack Doe], countries: [RU]}
  - {id: "2", kind: vessel, name: Blue Whale, identifiers: [IMO 1234567]}
"""


def test_the_un_list_gives_names_with_their_quality_countries_and_documents() -> None:
    read = load_un(UN.encode())
    person, firm = read.entries
    assert (read.version.source, read.version.published, read.version.entries) == ("UN", date(2026, 2, 27), 2)
    assert (person.id, person.kind, person.countries, person.identifiers) == (
        "101",
        EntryKind.PERSON,
        ("KP", "RW"),
        ("X123",),
    )
    assert person.names == (
        EntryName("JOHN EXAMPLE DOE", Quality.PRIMARY),
        EntryName("Джон", Quality.STRONG),
        EntryName("Jack Doe", Quality.STRONG),
        EntryName("Jacky Doe", Quality.STRONG),
        EntryName("The Bear", Quality.WEAK),
    )
    assert (firm.kind, [name.text for name in firm.names]) == (EntryKind.ENTITY, ["EXAMPLE TRADING CO.", "Sample Ltd"])


def test_ofac_gives_strong_aliases_from_alt_and_weak_ones_from_the_remarks() -> None:
    firm, person, ship = load_ofac(SDN.encode(), ALT.encode()).entries
    assert (firm.kind, [name.text for name in firm.names]) == (EntryKind.ENTITY, ["EXAMPLE AIRLINES", "EXAMPLE-AIR"])
    assert person.names == (
        EntryName("DOE, John", Quality.PRIMARY),
        EntryName("DOE, Jack", Quality.STRONG),
        EntryName("THE BEAR", Quality.WEAK),
    )
    assert (person.countries, person.identifiers) == (("NE",), ("A50143448",))
    assert (ship.kind, ship.countries, ship.identifiers) == (EntryKind.VESSEL, ("CY",), ("CL2685",))


def test_opensanctions_gives_several_values_of_a_cell() -> None:
    read = load_opensanctions(OPENSANCTIONS.encode())
    person, firm = read.entries
    assert read.version.published == date(2025, 7, 1)
    assert [name.text for name in person.names] == ["John Doe", "Jack Doe", "Doe; the younger"]
    assert (person.kind, person.countries, person.identifiers) == (EntryKind.PERSON, ("KP", "RU"), ("P123",))
    assert firm.kind == EntryKind.ENTITY


def test_own_lists_are_read_from_csv_and_yaml(tmp_path: Path) -> None:
    (person,) = load_own_csv(OWN_CSV.encode(), source="DESK").entries
    assert [(name.text, name.quality) for name in person.names] == [
        ("John Doe", Quality.PRIMARY),
        ("Jack Doe", Quality.STRONG),
        ("Jacky Doe", Quality.STRONG),
        ("Bear", Quality.WEAK),
    ]
    assert (person.countries, person.identifiers) == (("KP", "RU"), ("P1", "P2"))
    (tmp_path / "desk.yaml").write_text(OWN_YAML)
    read = load_own_yaml(tmp_path / "desk.yaml")
    assert (read.version.source, read.version.published) == ("DESK", date(2026, 11, 1))
    assert [entry.kind for entry in read.entries] == [EntryKind.PERSON, EntryKind.VESSEL]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (UN[:900], "UN:15: this is not XML"),
        (UN.replace("<DATAID>202</DATAID>", "<DATAID>x</DATAID>"), "UN:17: the entry's DATAID is 'x'"),
        (UN.replace("<DATAID>202</DATAID>", "<DATAID>101</DATAID>"), "the entry 101 stands twice"),
        (UN.replace("<FIRST_NAME>EXAMPLE TRADING CO.</FIRST_NAME>", "").replace("Sample Ltd", ""), "UN:17: entry 202"),
        (UN.replace("ENTITIES>", "COMPANIES>"), "<ENTITY> in <COMPANIES> is not known"),
        (UN.replace("Good", "Middling"), "UN:4: an alias has the quality 'middling'"),
        (UN.replace("CONSOLIDATED_LIST", "OTHER_LIST"), "UN:2: the root is <OTHER_LIST>"),
        (UN.replace("2026-02-27T00", "27.2.2026 00"), "UN:2: dateGenerated"),
        (UN[: UN.index("<ENTITIES>")] + "</CONSOLIDATED_LIST>", "has no <ENTITIES>"),
        (UN.replace("JOHN", "JOHN & CO"), "UN:6: this is not XML"),
        (UN.replace("Good", "<A>" * 20 + "</A>" * 20), "nested deeper"),
        ("", "UN:1: this is not XML"),
        (
            '<?xml version="1.0" encoding="nothing"?><CONSOLIDATED_LIST/>',
            "UN:1: the file states the encoding 'nothing'",
        ),
    ],
)
def test_a_broken_un_list_is_refused_with_its_line(broken: str, told: str) -> None:
    with pytest.raises(ListRefused) as refused:
        load_un(broken.encode())
    assert told in str(refused.value)


def test_a_un_list_in_another_encoding_than_it_says_is_refused() -> None:
    with pytest.raises(ListRefused, match="UN:7: this is not XML"):
        load_un(UN.encode("utf-8").replace("Джон".encode(), "Джон".encode("koi8-r")))


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>',
        '<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE l SYSTEM "http://localhost/list.dtd">',
    ],
)
def test_entities_and_document_types_are_refused_before_anything_is_expanded(prolog: str) -> None:
    bomb = UN.replace("<CONSOLIDATED_LIST", prolog + "<CONSOLIDATED_LIST").replace("JOHN", "&c;&c;")
    with pytest.raises(ListRefused, match="UN:2: the file declares a document type"):
        load_un(bomb.encode())


@pytest.mark.parametrize(
    ("sdn", "alt", "told"),
    [
        (SDN[:-200], ALT, "OFAC SDN:2: the mark at the end"),
        (SDN[:-60] + "\x1a", ALT, "OFAC SDN:3: the last row has no end of line"),
        (SDN.replace("-0- \r\n173", "-0- ,x\r\n173"), ALT, "OFAC SDN:1: the row has 13 columns where 12 are due"),
        (SDN.replace('"individual"', '"martian"'), ALT, "OFAC SDN:2: the entry is of type 'martian'"),
        (SDN.replace('"BLUE WHALE"', '"BLUE WHALE'), ALT, "OFAC SDN:"),
        (SDN.replace("\r\n200", "\r\nx200"), ALT, "OFAC SDN:3: the entry's number is 'x200'"),
        (SDN, ALT.replace(",-0- \r\n173", "\r\n173"), "OFAC ALT:1: the row has 4 columns where 5 are due"),
        (SDN, ALT.replace('"aka"', '"bka"'), "OFAC ALT:1: the alias is of type 'bka'"),
        (SDN, ALT.replace("173,13", "999,13"), "OFAC ALT:2: the alias belongs to 999"),
        (SDN, ALT + "more\r\n", "behind the mark"),
        ("\x1a", "\x1a", "has no entry"),
        (SDN.encode("utf-16").decode("latin-1"), ALT, "zero byte"),
    ],
)
def test_a_broken_ofac_list_is_refused_with_file_and_line(sdn: str, alt: str, told: str) -> None:
    with pytest.raises(ListRefused) as refused:
        load_ofac(sdn.encode("latin-1"), alt.encode("latin-1"))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (OPENSANCTIONS[:-30], "OPENSANCTIONS:3: the last row has no end of line"),
        (OPENSANCTIONS.replace("schema", "scheme"), "OPENSANCTIONS:1: the head"),
        (OPENSANCTIONS.replace("NK-2,Company,", "NK-2,"), "OPENSANCTIONS:3: the row has 14 columns where 15 are due"),
        (OPENSANCTIONS.replace("NK-2,Company", ",Company"), "OPENSANCTIONS:3: the row has no id"),
        (OPENSANCTIONS.replace("NK-2", "NK-1"), "the entry NK-1 stands twice"),
        (OPENSANCTIONS.replace("Example Ltd", ""), "OPENSANCTIONS:3: entry NK-2: the entry has no name"),
        (OPENSANCTIONS.replace('younger"""', 'younger"'), "OPENSANCTIONS:2: the values"),
        ("", "the file is empty"),
    ],
)
def test_a_broken_opensanctions_file_is_refused_with_its_line(broken: str, told: str) -> None:
    with pytest.raises(ListRefused) as refused:
        load_opensanctions(broken.encode())
    assert told in str(refused.value)


def test_a_csv_in_another_encoding_is_refused_with_its_line() -> None:
    with pytest.raises(ListRefused, match="OPENSANCTIONS:3: the byte 0xe9 is not utf-8"):
        load_opensanctions(OPENSANCTIONS.replace("Example Ltd", "Café Ltd").encode("latin-1"))


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (OWN_CSV.replace("person", "alien"), "DESK:2: the kind is 'alien'"),
        (OWN_CSV.replace("KP", "Korea"), "DESK:2: 'Korea' is no country"),
        (OWN_CSV.replace("weak_aliases", "weak"), "DESK:1: the head is"),
        (OWN_CSV.replace("\n1,", "\n,"), "DESK:2: the entry has no id"),
        (OWN_CSV[:-1], "the last row has no end of line"),
        ("", "the file is empty"),
    ],
)
def test_a_broken_own_list_is_refused_with_its_line(broken: str, told: str) -> None:
    with pytest.raises(ListRefused) as refused:
        load_own_csv(broken.encode(), source="DESK")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (OWN_YAML.replace("vessel", "boat"), ":5: the kind is 'boat'"),
        (OWN_YAML.replace("name: Blue Whale", "nom: Blue Whale"), ":5: Object"),
        (OWN_YAML.replace("published: 2026-11-01", "published: soon"), ":2:"),
        (OWN_YAML.replace("entries:", "entries: ["), "this is not YAML"),
    ],
)
def test_a_broken_own_yaml_list_is_refused_with_its_line(tmp_path: Path, broken: str, told: str) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(broken)
    with pytest.raises(ListRefused) as refused:
        load_own_yaml(path)
    assert str(refused.value).startswith(str(path))
    assert told in str(refused.value)


def test_a_list_with_far_fewer_entries_than_the_one_in_force_is_refused_unless_told_so() -> None:
    new = load_own_csv(OWN_CSV.encode(), source="DESK")
    with pytest.raises(ListRefused, match=r"has 1 entries, the one in force .* has 2"):
        new.check_size(version("DESK", entries=2))
    new.check_size(version("DESK", entries=2), share_least=0.5)
    new.check_size(version("OTHER", entries=1000))
    new.check_size(None)


def test_a_version_names_source_day_and_digest() -> None:
    read, other = load_un(UN.encode()), load_un(UN.replace("JOHN", "JOAN").encode())
    assert read.version.id == f"UN:2026-02-27:{read.version.digest[:12]}"
    assert read.version.digest != other.version.digest


@pytest.mark.parametrize(
    ("text", "code"),
    [("Iran (Islamic Republic of)", "IR"), ("Côte d’Ivoire", "CI"), ("ru", "RU"), ("Atlantis", None), (" ", None)],
)
def test_countries_are_read_as_lists_write_them(text: str, code: str | None) -> None:
    assert country_of(text) == code


@public
def test_the_public_lists_are_read_whole() -> None:
    united_nations, treasury = un(), ofac()
    assert (united_nations.version.entries, united_nations.version.published) == (1003, date(2026, 2, 27))
    assert treasury.version.entries == 8976
    kinds = [entry.kind for entry in treasury.entries]
    assert (kinds.count(EntryKind.PERSON), kinds.count(EntryKind.VESSEL), kinds.count(EntryKind.AIRCRAFT)) == (
        4620,
        406,
        277,
    )
    assert sum(len(entry.names) for entry in (*united_nations.entries, *treasury.entries)) == 27493


@public
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_public_lists_cut_anywhere_are_refused(share: float) -> None:
    united_nations, sdn, alt = (path.read_bytes() for path in (UN_FILE, SDN_FILE, ALT_FILE))
    for load in (
        lambda: load_un(united_nations[: int(len(united_nations) * share)]),
        lambda: load_ofac(sdn[: int(len(sdn) * share)], alt),
        lambda: load_ofac(sdn, alt[: int(len(alt) * share)]),
    ):
        with pytest.raises(ListRefused):
            load()
