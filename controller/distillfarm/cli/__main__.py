"""``python -m distillfarm.cli``: the command line without its script on the PATH."""

from distillfarm.cli.main import main

if __name__ == "__main__":
    main()
