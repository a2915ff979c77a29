// Numbers as people write and read them.

/** Reads a number with a decimal point or comma. Returns {value} or {error: what to do}. */
export function readNumber(text, { min = null, max = null, whole = false, optional = false } = {}) {
  const trimmed = text.trim().replace(/[\s\u00a0\u202f]/g, "").replace(/\u2212/g, "-");
  if (!trimmed) return optional ? { value: null } : { error: "Write a number here." };
  const hasBoth = trimmed.includes(",") && trimmed.includes(".");
  if (hasBoth || (trimmed.match(/,/g) ?? []).length > 1) return { error: "Write the number without separators for thousands." };
  const plain = trimmed.replace(",", ".");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain)) return { error: "This is not a number." };
  const value = Number(plain);
  if (whole && !Number.isInteger(value)) return { error: "Write a whole number." };
  if ((min !== null && value < min) || (max !== null && value > max) || !Number.isFinite(value)) {
    return { error: `Write a number ${rangeText(min, max)}.` };
  }
  return { value };
}

function rangeText(min, max) {
  if (min === null) return `up to ${shown(max)}`;
  if (max === null) return `from ${shown(min)}`;
  return `from ${shown(min)} to ${shown(max)}`;
}

/** A number with at most four digits that matter; whole numbers stay whole. */
export function shown(value) {
  if (value === null || value === undefined) return "";
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  return `${(whole / 3600).toFixed(1)} h`;
}

export function bytes(count) {
  if (count < 1e9) return `${Math.max(1, Math.round(count / 1e6))} MB`;
  return `${(count / 1e9).toFixed(1)} GB`;
}

export function ago(created) {
  const seconds = Date.now() / 1000 - created;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(created * 1000).toLocaleDateString();
}
