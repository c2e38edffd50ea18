"""Unlearn forty people in a table with numbers and text, and compare with a Retrain."""

import csv
import random
import tempfile
from pathlib import Path

import coun

random.seed(0)
folder = Path(tempfile.mkdtemp())
with open(folder / "people.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["id", "age", "hours", "job", "label"])
    for number in range(400):
        age, hours = random.randint(18, 70), round(random.gauss(40, 8), 1)
        job = random.choice(["clerk", "nurse", "pilot"])
        score = (age - 40) / 10 + (hours - 40) / 8 + (1.5 if job == "pilot" else -0.5)
        writer.writerow([f"p{number:03d}", age, hours, job, "high" if score > 0 else "low"])

# Numbers get mean 0 and deviation 1, and each job an input of its own, as in the training rows.
data = coun.load(f"table:{folder / 'people.csv'}", id_column="id")
print(data.shape, data.classes, data.ids[:3])
split = coun.Split.by_id(data, data.ids[:40])

original = coun.train(data, "mlp", epochs=20)
# CoUn's second view of a row has some columns of other rows (SCARF).
forgot = coun.unlearn(original, split, "coun", epochs=4, temperature=0.5)

retrain = coun.train(data, "mlp", split=split, epochs=20)
metrics = coun.evaluate(forgot, against=retrain)
print(f"average gap to Retrain: {metrics['average_gap']:.2f} points")
