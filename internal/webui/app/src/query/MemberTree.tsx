import { TextInput, Tooltip } from "@mantine/core";
import { IconCheck, IconChevronRight, IconSearch } from "@tabler/icons-react";
import { type KeyboardEvent, useMemo, useRef, useState } from "react";
import type { MetaCube } from "../api/cube";
import { strings } from "../strings";
import type { Member } from "./draft";
import { membersOf } from "./draft";
import { MemberIcon, typeWord } from "./MemberIcon";
import classes from "./MemberTree.module.css";

const t = strings.query;

interface Props {
  cubes: MetaCube[];
  isChosen: (m: Member) => boolean;
  onToggle: (m: Member) => void;
}

type Node = { id: string; level: 1; cube: MetaCube; open: boolean; count: number } | { id: string; level: 2; member: Member };

const order = { measure: 0, time: 1, dimension: 2, segment: 3 };

/**
 * The model as a tree (ARIA tree pattern): arrows move and open, letters jump, Enter adds or takes out. One node at a
 * time is in the tab order, so that the tree is one stop for those who pass by.
 */
export function MemberTree({ cubes, isChosen, onToggle }: Props) {
  const [text, setText] = useState("");
  const [closed, setClosed] = useState<ReadonlySet<string>>(() => new Set(cubes.length > 4 ? cubes.slice(1).map((c) => c.name) : []));
  const [active, setActive] = useState("");
  const items = useRef(new Map<string, HTMLLIElement>());
  const typed = useRef({ text: "", at: 0 });

  const nodes = useMemo(() => nodesOf(cubes, text, closed), [cubes, text, closed]);
  const tabStop = nodes.some((n) => n.id === active) ? active : nodes[0]?.id;

  const focus = (node: Node | undefined) => {
    if (node === undefined) return;
    setActive(node.id);
    items.current.get(node.id)?.focus();
  };
  const setOpen = (cube: string, open: boolean) =>
    setClosed((c) => {
      const next = new Set(c);
      if (open) next.delete(cube);
      else next.add(cube);
      return next;
    });
  const act = (node: Node) => {
    if (node.level === 1) setOpen(node.cube.name, !node.open);
    else onToggle(node.member);
  };

  const onKeyDown = (e: KeyboardEvent) => {
    const at = nodes.findIndex((n) => n.id === tabStop);
    const node = nodes[at];
    if (node === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
    switch (e.key) {
      case "ArrowDown":
        focus(nodes[at + 1]);
        break;
      case "ArrowUp":
        focus(nodes[at - 1]);
        break;
      case "Home":
        focus(nodes[0]);
        break;
      case "End":
        focus(nodes[nodes.length - 1]);
        break;
      case "ArrowRight":
        if (node.level === 1 && !node.open) setOpen(node.cube.name, true);
        else if (node.level === 1) focus(nodes[at + 1]);
        break;
      case "ArrowLeft":
        if (node.level === 1) setOpen(node.cube.name, false);
        else focus(nodes.findLast((n, i) => i < at && n.level === 1));
        break;
      case "Enter":
      case " ":
        act(node);
        break;
      default: {
        if (e.key.length !== 1) return;
        const now = e.timeStamp;
        const same = now - typed.current.at < 600;
        typed.current = { text: (same ? typed.current.text : "") + e.key.toLowerCase(), at: now };
        const from = same ? at : at + 1;
        const turned = [...nodes.slice(from), ...nodes.slice(0, from)];
        focus(turned.find((n) => label(n).toLowerCase().startsWith(typed.current.text)));
      }
    }
    e.preventDefault();
  };

  return (
    <div className={classes.picker}>
      <TextInput
        type="search"
        aria-label={t.search}
        placeholder={t.search}
        leftSection={<IconSearch size={16} aria-hidden />}
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === "ArrowDown") {
            e.preventDefault();
            focus(nodes[0]);
          }
          const first = nodes.find((n) => n.level === 2);
          if (e.key === "Enter" && !e.ctrlKey && !e.metaKey && text !== "" && first?.level === 2) {
            e.preventDefault();
            onToggle(first.member);
          }
          if (e.key === "Escape" && text !== "") {
            e.stopPropagation();
            setText("");
          }
        }}
      />
      {nodes.length === 0 ? (
        <p className={classes.none} role="status">
          {t.noMatch(text)}
        </p>
      ) : (
        <ul role="tree" aria-label={t.members} aria-multiselectable className={classes.tree} onKeyDown={onKeyDown}>
          {nodes.map((n) => {
            const common = {
              role: "treeitem",
              "aria-level": n.level,
              tabIndex: n.id === tabStop ? 0 : -1,
              ref: (el: HTMLLIElement | null) => {
                if (el) items.current.set(n.id, el);
                else items.current.delete(n.id);
              },
              onFocus: () => setActive(n.id),
              onClick: () => act(n),
            };
            if (n.level === 1) {
              return (
                <li key={n.id} {...common} aria-expanded={n.open} className={classes.cube}>
                  <IconChevronRight size={15} aria-hidden className={classes.chevron} />
                  <span className={classes.title}>{n.cube.title}</span>
                  {n.cube.type === "view" && <span className={classes.tag}>{t.view}</span>}
                  {n.count > 0 && !n.open && <span className={classes.tag}>{n.count}</span>}
                </li>
              );
            }
            const { member } = n;
            const chosen = isChosen(member);
            return (
              <Tooltip key={n.id} label={member.description} disabled={!member.description} position="right" openDelay={500}>
                <li {...common} aria-selected={chosen} className={classes.member}>
                  <MemberIcon member={member} />
                  <span className={classes.title}>{member.shortTitle || member.title}</span>
                  <span className={classes.type}>{typeWord(member)}</span>
                  <span className={classes.check}>{chosen && <IconCheck size={15} aria-hidden />}</span>
                </li>
              </Tooltip>
            );
          })}
        </ul>
      )}
    </div>
  );
}

function label(n: Node): string {
  return n.level === 1 ? n.cube.title : n.member.shortTitle || n.member.title;
}

/** The visible nodes from top to bottom. A search opens what it finds. */
function nodesOf(cubes: MetaCube[], text: string, closed: ReadonlySet<string>): Node[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return cubes.flatMap((cube) => {
    const members = [...membersOf([cube]).values()]
      .filter((m) => {
        const hay = `${m.name} ${m.title} ${m.description ?? ""}`.toLowerCase();
        return words.every((w) => hay.includes(w));
      })
      .sort((a, b) => order[a.kind] - order[b.kind]);
    if (members.length === 0 && words.length > 0) return [];
    const open = words.length > 0 || !closed.has(cube.name);
    const head: Node = { id: cube.name, level: 1, cube, open, count: members.length };
    return [head, ...(open ? members.map((member): Node => ({ id: member.name, level: 2, member })) : [])];
  });
}
