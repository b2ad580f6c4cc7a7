"""The compiler: law files and drafts of law become programs.

`drafts` > `law_files` > `compiler` > `limits` > `slots` > `rates`; `compiler` > `coverage`, `defaults`.
"""
