const today = '2024-06-30';
export const isActive = (c) => `(${c}.left_on IS NULL OR ${c}.left_on > DATE '${today}')`;
export const yearsOf = (c) => `(DATE '2024-06-30' - hired) / 365`;
