import { ActionIcon, Button, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { strings } from "../strings";
import { useAnnounce } from "./Announcer";

interface Props {
  text: string;
  /** What is copied, for the name of the button: "redirect URI". */
  what: string;
  /** A button with a word, or in full where what is copied is not right beside it; default an icon. */
  labelled?: boolean | "full";
}

export function CopyButton({ text, what, labelled = false }: Props) {
  const { copied, copy } = useCopy();
  const Icon = copied ? IconCheck : IconCopy;
  if (labelled) {
    return (
      <Button variant="default" leftSection={<Icon size={16} aria-hidden />} onClick={() => copy(text)} aria-label={strings.common.copyOf(what)}>
        {copied ? strings.common.copied : labelled === "full" ? strings.common.copyOf(what) : strings.common.copy}
      </Button>
    );
  }
  return (
    <Tooltip label={copied ? strings.common.copied : strings.common.copyOf(what)}>
      <ActionIcon
        variant="subtle"
        color={copied ? "teal" : "gray"}
        size={28}
        onClick={() => copy(text)}
        aria-label={strings.common.copyOf(what)}
      >
        <Icon size={16} aria-hidden />
      </ActionIcon>
    </Tooltip>
  );
}

/** Copies and says so. copied stays true for two seconds. */
export function useCopy() {
  const announce = useAnnounce();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const t = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(t);
  }, [copied]);
  const copy = async (text: string) => {
    if (await writeClipboard(text)) {
      setCopied(true);
      announce(strings.common.copied);
    } else {
      announce(strings.common.copyFailed);
    }
  };
  return { copied, copy };
}

/** The clipboard API exists only in secure contexts; a server on plain http inside a network has the old way. */
async function writeClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    const back = document.activeElement;
    area.select();
    try {
      return document.execCommand("copy");
    } catch {
      return false;
    } finally {
      area.remove();
      if (back instanceof HTMLElement) back.focus();
    }
  }
}
