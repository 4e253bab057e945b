"""From the bytes of a webhook to what each of its alerts means: pure, without I/O and without a clock.

`payload` decodes, `times` and `reading` validate, `fingerprint` tells problems apart, `classification`,
`policy` and `holding` judge, `explanation` says why. Everything is a function of the body, the settings and
what the caller hands in; the environment of a namespace comes from a function that the caller gives, which
answers from a cache. Nothing here waits, and nothing here knows whether an alert was seen before.
"""
