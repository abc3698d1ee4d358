// Why a value is missing. The rules are those of ibtrack.record.notes; the tests run both on the same cases.

/** Names under which a point may say why the value at a metric key is missing, the most specific first. */
function noteNames(key) {
  const [head, ...middle] = key.split("/");
  const quantity = middle.pop();
  const [site, order] = middle;
  const isDebiased = !/_(plugin|null)$/.test(head);
  const everySite = isDebiased ? (order === undefined ? quantity : `${order}/${quantity}`) : undefined;
  return [key, everySite, order, site].filter((name) => name !== undefined);
}

/** The most specific note; without one the failure of the whole point; without that a sentence that says so. */
function whyMissing(notes, failure, key) {
  const name = noteNames(key).find((other) => Object.hasOwn(notes, other));
  return (name !== undefined && notes[name]) || failure || "not in this trajectory";
}
