# Shorthand; ./test says what the steps are.

# All that CI runs.
check:
    ./test

# What is quick: format and lints.
quick:
    ./test format lints

start:
    ./start
