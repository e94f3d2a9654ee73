import type { Change } from "./stream";

/** An item, and when it was learnt that it has ended. */
export interface Row<Item> {
  item: Item;
  ended?: number;
}

/** How long what has ended is still shown, so that nothing vanishes under the eye. */
export const lingers = 10_000;

/** What a live view knows: it takes changes as they come, and is read when there is something to show. */
export class Book<Item extends { id: string }> {
  private readonly rows = new Map<string, Row<Item>>();
  /** Whether anything was heard yet. */
  begun = false;
  more = false;
  /** How many came and went since they were last counted. */
  came = 0;
  went = 0;

  take(change: Change<Item>, now: number) {
    for (const item of change.items) {
      if (this.begun && !this.running(item.id)) this.came++;
      this.rows.set(item.id, { item });
    }
    const there = new Set(change.items.map(({ id }) => id));
    const gone = change.whole ? [...this.rows.keys()].filter((id) => !there.has(id)) : change.gone;
    for (const id of gone) this.end(id, now);
    this.begun = true;
    this.more = change.more;
  }

  /** Notes that an item has ended, if that is news. */
  end(id: string, now: number) {
    const row = this.rows.get(id);
    if (row === undefined || row.ended !== undefined) return;
    this.rows.set(id, { ...row, ended: now });
    this.went++;
  }

  private running(id: string): boolean {
    const row = this.rows.get(id);
    return row !== undefined && row.ended === undefined;
  }

  /** What there is to show now, in the order in which it came. What ended longer ago goes, but for what keep holds. */
  show(now: number, keep: (id: string) => boolean): Row<Item>[] {
    for (const [id, { ended }] of this.rows) {
      if (ended !== undefined && now - ended > lingers && !keep(id)) this.rows.delete(id);
    }
    return [...this.rows.values()];
  }
}
