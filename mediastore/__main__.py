"""`python -m mediastore` is the command `mediastore`."""

from mediastore.cli import main

if __name__ == "__main__":
    main()
