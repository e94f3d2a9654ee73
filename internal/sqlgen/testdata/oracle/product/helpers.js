export const prop = (name) => `props ->> '${name}'`;
export function step(n, name) {
  return { sql: `CASE WHEN name = '${name}' THEN ${n} END`, type: 'max' };
}
export const plans = ['free', 'pro'];
