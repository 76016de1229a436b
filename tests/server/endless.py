"""What tests of the server share beside fixtures."""

# A preprocessor needs some hours for it and no memory: a compile that only cancelling ends.
NEVER_ENDS = "#define X0\n" + "".join(f"#define X{n} X{n - 1} X{n - 1} X{n - 1}\n" for n in range(1, 41)) + "X40\n"
