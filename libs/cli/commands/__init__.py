"""The commands, one module each; libs.cli.main imports them when they are called."""
