/** Two circles, one standing before the other: somebody who acts on behalf of somebody. */
export function Logo({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden focusable="false">
      <rect width="32" height="32" rx="9" fill="#4a59d1" />
      <circle cx="19.5" cy="16" r="7" fill="none" stroke="#c2c9f7" strokeWidth="2.5" />
      <circle cx="12.5" cy="16" r="7" fill="#fff" />
    </svg>
  );
}
