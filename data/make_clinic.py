"""Makes clinic.csv: 600 simulated patients with a known law. Run: python data/make_clinic.py

Law: sicker and older patients get the new drug more often (confounding by age and severity);
the drug lowers blood pressure by 8 mmHg on average, 12 in smokers and 6 in others; the blood
pressure moves the number of days in hospital. Every patient was seen at one of 12 clinics, whose
patients resemble each other.
"""

from pathlib import Path

import numpy as np
import pandas as pd


def clinic(n: int = 600, seed: int = 2024) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    site = r.integers(0, 12, n)
    site_shift = r.normal(0, 2, 12)[site]
    age = np.clip(r.normal(58, 11, n), 25, 90).round(0)
    sex = r.choice(["female", "male"], n)
    smoker = r.random(n) < np.where(sex == "male", 0.35, 0.25)
    severity = 0.03 * (age - 58) + 0.4 * smoker + r.normal(0, 0.8, n)
    chance = 1 / (1 + np.exp(-(0.8 * severity + 0.02 * (age - 58))))
    drug = r.random(n) < chance
    effect = np.where(smoker, -12.0, -6.0)
    pressure = 132 + 0.35 * (age - 58) + 5 * severity + effect * drug + site_shift
    pressure = pressure + r.normal(0, 7, n)
    days = np.maximum(0, np.rint(2 + 0.12 * (pressure - 120) + r.normal(0, 1.5, n)))
    return pd.DataFrame(
        {
            "clinic": [f"clinic {s + 1:02d}" for s in site],
            "age": age.astype(int),
            "sex": sex,
            "smoker": np.where(smoker, "yes", "no"),
            "severity": severity.round(2),
            "drug": np.where(drug, "new", "old"),
            "blood_pressure": pressure.round(1),
            "hospital_days": days.astype(int),
        }
    )


if __name__ == "__main__":
    clinic().to_csv(Path(__file__).with_name("clinic.csv"), index=False)
