"""Words of names that are known beforehand: spellings of one name, particles, titles, legal forms.

General knowledge of names, not taken from a list of parties.
"""

from __future__ import annotations

from typing import Final

_SPELLINGS: Final = """
muhammad: mohammed mohamed mohammad mohamad muhammed muhamad muhamed mohamud mohammod mahammad mohd mouhamed mouhammad
abd: bd
abdallah: bdllh
ali: ly
bin: bn
abu: bw
husayn: hsyn
ahmad: hmd
muhammad: muhamet muhammet mehmed mhmd magomed mukhammad mokhammad
ahmad: ahmed ahmet akhmed akhmad achmad achmed ahmat
abdallah: abdullah abdulla abdalla abdellah abdoullah abdoulla abdulah abdalah
husayn: hussein husain hussain husein hossein hosein houssein hussayn hossain huseyin hoseyn husseyn
hasan: hassan hasen hassen
yusuf: yousef youssef yousuf yusef yosef yusif youssouf youcef yousif yusof
mahmud: mahmoud mahmood mehmood mahmod
ibrahim: ebrahim brahim ibraheem ibrahem abraham
umar: omar omer umer omr
uthman: othman osman usman ousmane ousman uthmaan othmane
said: saeed saied sayeed saiid
sayyid: sayed syed seyed sayyed sayid seyyed
khalid: khaled halid khalled
salih: saleh salah saalih salleh
sulayman: suleiman sulaiman soleiman suleyman sulaymaan solaiman sleiman souleymane soleimani
ismail: ismael esmail ismaeel esmaeil ismaiil
mustafa: mostafa mustapha moustafa moustapha mustafah
hamid: hameed hamed
rahman: rehman rachman rahmaan
rahim: raheem rehim
karim: kareem kerim
aziz: azeez aziiz
jamal: gamal djamal jamaal djamel
abu: abou abo aboo
abd: abdul abdel abdal abdol abdoul abdur abdu abdulal
bin: ben ibn
bint: bent binti
al: el ul
shaykh: sheikh sheik shaikh cheikh sheykh
mawlawi: maulavi mullawi mawlavi moulavi
mullah: mulla mollah molla mullo
hajji: haji hajj hadji haj hadj alhaj
aleksandr: alexander aleksander alexandr oleksandr aleksandar
sergei: sergey serhiy sergej serhii
yevgeny: evgeny evgeniy yevgeniy evgeni yevgeni evgenii
andrei: andrey andriy andrej andrii
dmitri: dmitry dmitriy dmytro dmitrii
yuri: yury yuriy iurii yurii
mikhail: mikhael mykhailo
nikolai: nikolay mykola nikolaj
vladimir: volodymyr wladimir
ltd: limited ltda limitada
co: company compagnie compania
corp: corporation
inc: incorporated
intl: international internacional internationale
bros: brothers
mfg: manufacturing
and: und
"""

CANONICAL: Final[dict[str, str]] = {
    spelling: line.partition(":")[0]
    for line in _SPELLINGS.strip().splitlines()
    for spelling in line.partition(":")[2].split()
}
"""One spelling for many of the same name or word."""

VARIANTS: Final[dict[str, tuple[str, ...]]] = {
    word: tuple(spelling for spelling, its in CANONICAL.items() if its == word) for word in set(CANONICAL.values())
}
"""The spellings of each word that `CANONICAL` leads to."""

PARTICLES: Final[frozenset[str]] = frozenset(
    "al bin bint de del della di da do dos das van von der den la le les los las the of and for in on "  # noqa: SIM905
    "mr mrs ms miss dr prof sir eng engineer shaykh mawlawi mullah hajji qari colonel general captain".split()
)
"""Words that stand in names and tell nothing apart: articles, prepositions, kinship particles, titles."""

LEGAL_FORMS: Final[frozenset[str]] = frozenset(
    "ltd co corp inc llc llp plc gmbh ag kg sa sas sarl srl spa bv nv oy ab as aps kft doo dd ad jsc pjsc ojsc oao ooo "  # noqa: SIM905
    "zao pao cv rl sl slu pte pvt pty sdn bhd fze fzco fzc est establishment group holding holdings intl trading enterprise "
    "enterprises services service general industries industrial import export".split()
)
"""Legal forms and words that most firms' names hold."""
