"""Import a published tariff: python -m services.revenue.tariff_file; `luxor revenue import tariff` runs it."""

import sys

from services.revenue.tariff_file.command import main

if __name__ == "__main__":
    sys.exit(main())
