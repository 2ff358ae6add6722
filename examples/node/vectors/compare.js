// differences says where what was got is not what was wanted. '*' is anything; null
// must not be there; what is not named may be.
export function differences(want, got, path = '') {
  if (want === '*' && got !== undefined) return [];
  if (want === null) return got === undefined || got === null ? [] : [`${path}: got ${show(got)}, want nothing`];
  if (Array.isArray(want) && Array.isArray(got) && want.length === got.length) {
    return want.flatMap((w, i) => differences(w, got[i], `${path}[${i}]`));
  }
  if (isObject(want) && isObject(got)) {
    return Object.keys(want).flatMap((key) => differences(want[key], got[key], `${path}.${key}`));
  }
  return Object.is(want, got) ? [] : [`${path}: got ${show(got)}, want ${show(want)}`];
}

function isObject(v) { return typeof v === 'object' && v !== null && !Array.isArray(v); }

function show(v) {
  const text = JSON.stringify(v) ?? 'nothing';
  return text.length > 300 ? text.slice(0, 300) + '…' : text;
}
