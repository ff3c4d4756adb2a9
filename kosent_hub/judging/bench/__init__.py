"""KoSent-Bench's parts by a judge: referral, conduct and contradictions, beside what patterns say.

Each question has labelled replies, on which the judge is measured before it is believed.
"""
