import { createTheme, type CSSVariablesResolver, localStorageColorSchemeManager } from "@mantine/core";
import classes from "./theme.module.css";

// The key is known to public/theme.js, which sets the theme before the first paint.
export const colorSchemeManager = localStorageColorSchemeManager({ key: "behalf-theme" });

const sans =
  'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';
const mono = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';

// Text is 4.5:1 on every ground it stands on, edges of controls are 3:1, in both themes.
export const theme = createTheme({
  fontFamily: sans,
  fontFamilyMonospace: mono,
  fontSizes: { xs: "0.75rem", sm: "0.8125rem", md: "0.875rem", lg: "1rem", xl: "1.125rem" },
  lineHeights: { xs: "1.4", sm: "1.45", md: "1.5", lg: "1.5", xl: "1.5" },
  headings: {
    fontFamily: sans,
    fontWeight: "620",
    sizes: {
      h1: { fontSize: "1.375rem", lineHeight: "1.3" },
      h2: { fontSize: "1rem", lineHeight: "1.4" },
      h3: { fontSize: "0.875rem", lineHeight: "1.4" },
    },
  },
  defaultRadius: "md",
  radius: { xs: "4px", sm: "6px", md: "8px", lg: "12px", xl: "16px" },
  primaryColor: "iris",
  primaryShade: { light: 6, dark: 6 },
  cursorType: "pointer",
  respectReducedMotion: true,
  focusRing: "auto",
  colors: {
    iris: [
      "#eef0ff",
      "#dfe3fc",
      "#c2c9f7",
      "#a4aef2",
      "#8290ea",
      "#6271e0",
      "#4a59d1",
      "#3f4dbb",
      "#3542a3",
      "#2b368a",
    ],
    gray: [
      "#f7f8fa",
      "#eff1f4",
      "#e4e7ec",
      "#d3d8e0",
      "#b6bcc8",
      "#838b9b",
      "#687082",
      "#535b6c",
      "#363d4c",
      "#1b1f2a",
    ],
    red: ["#fff0ef", "#ffdedb", "#ffc0ba", "#ffa199", "#f47c72", "#dd4a3f", "#c9352b", "#b02a21", "#96221b", "#7d1c16"],
    dark: [
      "#e6e8ee",
      "#c3c8d3",
      "#9ca4b5",
      "#767f92",
      "#343b49",
      "#252b37",
      "#191d26",
      "#11141b",
      "#0c0e13",
      "#07090c",
    ],
  },
  components: {
    Button: { defaultProps: { size: "sm" }, classNames: { label: classes.button } },
    Modal: {
      defaultProps: { centered: true, radius: "lg", overlayProps: { backgroundOpacity: 0.5 }, transitionProps: { duration: 120 } },
      classNames: { title: classes.modalTitle },
    },
    Tooltip: { defaultProps: { openDelay: 300, multiline: true, maw: 320, events: { hover: true, focus: true, touch: true } } },
    Menu: { defaultProps: { shadow: "md", withInitialFocusPlaceholder: false, transitionProps: { duration: 100 } } },
    Input: { classNames: { input: classes.input } },
    Checkbox: { classNames: { input: classes.checkbox } },
    InputWrapper: { classNames: { label: classes.label, error: classes.error, description: classes.description } },
    Skeleton: { defaultProps: { radius: "sm" } },
  },
});

export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#f7f8fa",
    "--mantine-color-text": "#1b1f2a",
    "--mantine-color-dimmed": "#575f70",
    "--mantine-color-placeholder": "#687082",
    "--mantine-color-error": "#b3261e",
    "--mantine-color-anchor": "#3f4dbb",
    "--mantine-color-default-border": "#d3d8e0",
  },
  dark: {
    "--mantine-color-body": "#11141b",
    "--mantine-color-text": "#e6e8ee",
    "--mantine-color-dimmed": "#9ca4b5",
    "--mantine-color-placeholder": "#8b93a5",
    "--mantine-color-error": "#ff8f86",
    "--mantine-color-anchor": "#a4aef2",
    "--mantine-color-default-border": "#343b49",
  },
});
