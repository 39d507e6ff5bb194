"""Items of TRIPOD+AI and CLAIM: which of them the report answers, in which section, and which stay with the authors.

TRIPOD+AI: Collins et al., BMJ 385:e078378 (2024), 27 items. CLAIM: Mongan, Moy & Kahn, Radiol. Artif. Intell. 2:e200029
(2020), 42 items. The words are ours; the papers have the full text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple


class Item(NamedTuple):
    """An item of a checklist: number, what it asks for, the section that answers it (empty: none), and a remark.

    needs: a part of the report that must be there for the answer, as in `subgroups`.
    """

    number: str
    asks: str
    section: str = ""
    remark: str = ""
    needs: str = ""


TRIPOD = (
    Item("1-2", "title and abstract"),
    Item("3-4", "clinical context, intended use, health inequalities, objectives"),
    Item("5a", "sources of the data", "whom", "source and licence as the dataset states them"),
    Item("5b", "dates of the data"),
    Item("6a", "setting and centres"),
    Item("6b", "eligibility of patients", "whom", "numbers, and what was left out; the criteria are the dataset's"),
    Item("6c", "treatments received"),
    Item("7", "preparation of the data", "software", "sizes and decoding, in the facts that make the record's key"),
    Item("8a-c", "outcome: definition, assessors, blinding"),
    Item("9", "predictors", "whom", "the image alone; no clinical variable"),
    Item("10", "sample size", "whom", "the numbers; why they are enough is for the authors"),
    Item("11", "missing data", "whom", "images left out, and masks that are missing, in the notes"),
    Item("12a", "how the data were divided", "seen", "splits, support and held-out images; overlap is counted"),
    Item("12c", "type of model and how it was built", "software", "method, parameters, command to repeat it"),
    Item("12d", "differences between clusters", "figures", "intervals are by patient; centres are unknown"),
    Item("12e", "measures of performance", "figures"),
    Item(
        "12g", "how predictions are made from the model", "operating", "the threshold and where it is from", "operating"
    ),
    Item("13", "class imbalance", "operating", "thresholds don't depend on it; PPV and NPV at a stated prevalence"),
    Item(
        "14",
        "fairness",
        "groups",
        "subgroups that the dataset names; sex, age and ethnicity only if it does",
        "subgroups",
    ),
    Item("15", "what the model puts out", "calibration", "a score and, where fitted, a probability", "calibration"),
    Item("16", "differences between training and evaluation data", "seen"),
    Item("17", "ethical approval"),
    Item("18a-d", "funding, conflicts, protocol, registration"),
    Item(
        "18e-f", "availability of data and code", "software", "version, commit and command; the data are their owner's"
    ),
    Item("19", "involvement of patients and the public"),
    Item("20a", "flow of participants", "whom", "numbers by split"),
    Item("20b", "characteristics of participants"),
    Item("20c", "development and evaluation data compared", "whom", "numbers alone"),
    Item("21", "participants and events in each analysis", "figures", "patients in each figure"),
    Item("22", "the model itself", "software", "the record keeps the trained parameters"),
    Item("23a", "performance with intervals, in subgroups too", "figures"),
    Item("23b", "heterogeneity between clusters"),
    Item("24", "updating of the model"),
    Item("25-26", "interpretation and limitations"),
    Item("27", "usability: input quality, users, next steps"),
)
CLAIM = (
    Item("1-4", "title, abstract, background, objectives"),
    Item("5-6", "prospective or retrospective; goal of the study"),
    Item("7", "data sources", "whom"),
    Item("8", "eligibility criteria"),
    Item("9", "preprocessing", "software"),
    Item("10", "selection of subsets", "whom", "what was left out, in the notes"),
    Item("11-12", "definitions of data elements; de-identification"),
    Item("13", "missing data", "whom"),
    Item("14-18", "reference standard: definition, source, annotators, tools, variability"),
    Item("19", "sample size", "whom", "the numbers; why they are enough is for the authors"),
    Item("20", "how data were assigned to partitions", "seen"),
    Item("21", "level at which partitions are disjoint", "seen", "images, and patients where they are known"),
    Item("22", "model", "software", "method and parameters; the method's page describes it"),
    Item("23", "software and packages", "software"),
    Item("24", "initial parameters", "software", "the backbone's weights, by hash"),
    Item("25", "training", "software", "all parameters"),
    Item("26", "how the final model was chosen", "seen", "the rule that chose the epoch"),
    Item("27", "ensembling"),
    Item("28", "measures of performance", "figures"),
    Item("29", "uncertainty", "figures", "intervals by patient, and by draw in the summary of several records"),
    Item("30", "robustness"),
    Item("31", "explainability", "pictures", "anomaly maps", "pictures"),
    Item("32", "validation on external data", "seen", "where the tested dataset is not the one learned from"),
    Item("33", "flow of participants", "whom", "numbers by split"),
    Item("34", "demographic and clinical characteristics"),
    Item("35", "performance, with benchmarks", "figures", "other methods: adbench compare"),
    Item("36", "accuracy with its precision", "figures"),
    Item("37", "failure analysis", "pictures", "the worst misses and false alarms", "pictures"),
    Item("38-39", "limitations; implications for practice"),
    Item("40-42", "registration, protocol, funding"),
)


def answered(items: tuple[Item, ...], there: Collection[str]) -> Iterator[tuple[Item, bool]]:
    """Yield each item and whether the report answers it; `there`: the optional parts that this report has.

    >>> items = Item("1", "title"), Item("14", "fairness", "groups", "", "subgroups")
    >>> [yes for _, yes in answered(items, {"subgroups"})]
    [False, True]
    """
    for item in items:
        yield item, bool(item.section) and (not item.needs or item.needs in there)
