# The same commands as ./dev, for those who are used to just.

default:
    @./dev

demo *ARGS:
    ./dev demo {{ARGS}}

test *ARGS:
    ./dev test {{ARGS}}

check:
    ./dev check

python:
    ./dev python

js:
    ./dev js

replay *ARGS:
    ./dev replay {{ARGS}}

bench *ARGS:
    ./dev bench {{ARGS}}

bless *ARGS:
    ./dev bless {{ARGS}}

fuzz TARGET SECONDS="60":
    ./dev fuzz {{TARGET}} {{SECONDS}}

engines *ARGS:
    ./dev engines {{ARGS}}

rtx:
    ./dev rtx

vm:
    ./dev vm

field *ARGS:
    ./dev field {{ARGS}}

package:
    ./dev package

cross:
    ./dev cross
