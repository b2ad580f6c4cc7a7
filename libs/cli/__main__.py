"""Run the command line as a module: python -m libs.cli."""

from libs.cli.main import main

if __name__ == "__main__":
    main()
