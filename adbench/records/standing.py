"""Whether a record is compared with others: clean, or with a leak or another caveat."""

from __future__ import annotations

from adbench.records.record import Record

# Why records are not compared with clean ones, by the values of the column `standing`.
CAVEATS = {
    "oracle": "epoch chosen on the test split (a leak)",
    "overlap": "test images or patients among the training data (a leak)",
    "test support": "abnormal support taken from the test split, which is scored without it",
    "transductive": "scores depend on the other test images",
    "as published": "epoch chosen as in the papers, mostly on the test split",
}


def standing(record: Record) -> str:
    """Return "clean", or why a record is not compared with clean ones: keys of `CAVEATS` joined by " and "."""
    content = record.content
    reasons = {
        "oracle": content["resolved"]["selection"] == "oracle",
        "overlap": content["overlap"] > 0,
        "test support": content["facts"].get("abnormal_support") == "test",
        "transductive": content.get("capability", {}).get("transductive", False),
    }
    return " and ".join(name for name, holds in reasons.items() if holds) or "clean"


def caveat(why: str) -> str:
    """Return what a value of the column `standing` means; empty for "clean".

    >>> caveat("oracle and transductive")
    'epoch chosen on the test split (a leak); scores depend on the other test images'
    """
    return "; ".join(CAVEATS[name] for name in why.split(" and ") if name != "clean")
