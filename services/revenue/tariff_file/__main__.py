"""Convert a published tariff: python -m services.revenue.tariff_file."""

import sys

from services.revenue.tariff_file.published import main

if __name__ == "__main__":
    sys.exit(main())
