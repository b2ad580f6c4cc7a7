"""The batch functions of libs/customs: partitions and MRNs. `make bench-customs`."""

import figures

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.partitions import partitions_of


def main() -> None:
    how = figures.options(__doc__)
    figures.machine()
    rows = 1_000 if how.quick else 100_000
    references = [f"ORDER-{number:09d}" for number in range(rows)]
    countries = ["DE", "FR", "AU", "GB"] * (rows // 4)
    partitions = partitions_of("carrier-1", references)

    def rate(seconds: list[float]) -> list[float]:
        return [rows / each for each in seconds]

    took = figures.measure(lambda: partitions_of("carrier-1", references), how.runs)
    figures.figure("partition_rate_rps", rate(took), "1/s", target=100_000)
    took = figures.measure(lambda: make_mrns(countries, partitions, 20_000, 0), how.runs)
    figures.figure("mrn_rate_rps", rate(took), "1/s", target=100_000)


if __name__ == "__main__":
    main()
