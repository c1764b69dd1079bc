"""Compares responses of the hub with the source, independently of the hub's code.

    agree.py member FILE NAME[.NAME]      prints a member of a JSON document
    agree.py csv NDJSON IMPORTED          prints how many records of the imported CSV have the values of the source
    agree.py schema NDJSON SCHEMA         prints checks of an analysis, one per line: tolerance, subject, expected, found, separated by tabs
"""
import json, sys


def member(path, name):
    with open(path, encoding="utf-8") as file:
        value = json.load(file)
    for part in name.split("."):
        value = value.get(part, "nothing") if isinstance(value, dict) else "nothing"
    print(value if isinstance(value, str) else json.dumps(value))


def csv(source_path, imported_path):
    """Compares as text: CSV has no types, and a missing value is an empty cell."""
    equal = 0
    with open(source_path, encoding="utf-8") as source, open(imported_path, encoding="utf-8") as imported:
        for left, right in zip(source, imported, strict=True):
            expected = {name: str(value) for name, value in json.loads(left).items() if value != ""}
            found = {name: value for name, value in json.loads(right).items() if value not in ("", None)}
            equal += expected == found
    print(equal)


def schema(source_path, schema_path):
    with open(source_path, encoding="utf-8") as source:
        records = [json.loads(line) for line in source]
    with open(schema_path, encoding="utf-8") as file:
        analysis = json.load(file)
    fields = analysis["field_info"]
    values = {}
    for record in records:
        for name, value in record.items():
            values.setdefault(name, []).append(value)

    def check(tolerance, what, expected, found):
        print(tolerance, f"{what}, of {len(records):,} records", expected, found, sep="\t")

    check(0, "total_records", len(records), analysis["total_records"])
    if analysis["analysis_type"] == "full":
        check(0, "records_analyzed", len(records), analysis["records_analyzed"])
        check(0, "field names", " ".join(values), " ".join(fields))
        check(0, "fields with correct counts, types, ranges and lengths", len(values),
              sum(is_right(fields[name], values[name], len(records)) for name in values))
        for name in ("Section", "Maintainer", "Package"):
            distinct = len(set(values[name]))
            tolerance = 0 if fields[name]["distinct_is_exact"] else round(0.05 * distinct)
            check(tolerance, f"distinct values of {name}", distinct, fields[name]["distinct"])
    else:
        check(1000, "records_analyzed", 5000, analysis["records_analyzed"])
        check(0, "fields whose share of the records is within 0.05", len(fields), sum(
            abs(info["present_share"] - len(values[name]) / len(records)) < 0.05 for name, info in fields.items()))
        check(0, "fields whose range of numbers is within the source's", len(fields), sum(
            all(min(values[name]) <= number <= max(values[name]) for number in info.get("numbers", {}).values())
            for name, info in fields.items()))


def is_right(info, values, records):
    """Whether an analysis of all records equals the counts made here."""
    strings = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, str)]
    lengths = [len(value) for value in strings]
    counts = {name: len(those) for name, those in (("string", strings), ("integer", numbers)) if those}
    return (
        info["present"] == len(values) and info["missing"] == records - len(values) and info["nulls"] == 0
        and {name: entry["count"] for name, entry in info["types"].items()} == counts
        and info.get("numbers") == ({"min": min(numbers), "max": max(numbers)} if numbers else None)
        and (not strings or (info["strings"]["min_length"], info["strings"]["max_length"]) == (min(lengths), max(lengths))))


if __name__ == "__main__":
    {"member": member, "csv": csv, "schema": schema}[sys.argv[1]](*sys.argv[2:])
