"""`python -m compressor` is `compress`; torchrun starts it this way."""

from compressor.cli.main import main

if __name__ == "__main__":
    main()
