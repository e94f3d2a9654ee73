import { Button, Group, Modal, Text, Textarea, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { api, type OAuthApp } from "../api/client";
import { strings } from "../strings";
import { ErrorBlock } from "../ui/ErrorBlock";
import classes from "./OAuthApps.module.css";
import { oauthApps as t } from "./strings";

interface Props {
  app: OAuthApp;
  opened: boolean;
  onClose: () => void;
  onDone: () => void;
}

/** How many people hold a grant of app, in whatever state. */
export function connectedPeople(app: OAuthApp): number {
  return Object.entries(app.people).reduce((sum, [status, n]) => (status === "not_connected" ? sum : sum + n), 0);
}

export function PauseDialog({ app, opened, onClose, onDone }: Props) {
  const [note, setNote] = useState("");
  const pause = useMutation({ mutationFn: () => api.pauseOAuthApp(app.id, note.trim()), onSuccess: onDone });
  return (
    <Modal opened={opened} onClose={onClose} title={t.pauseTitle(app.name)} closeButtonProps={{ "aria-label": strings.common.close }}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          pause.mutate();
        }}
      >
        <Text mb="md">{t.pauseWill(connectedPeople(app))}</Text>
        <Textarea
          label={t.pauseNote}
          description={t.pauseNoteHelp}
          placeholder={t.pauseNoteExample}
          value={note}
          maxLength={500}
          autosize
          minRows={2}
          data-autofocus
          onChange={(e) => setNote(e.currentTarget.value)}
        />
        {pause.isError && (
          <div className={classes.dialogError}>
            <ErrorBlock error={pause.error} />
          </div>
        )}
        <Group justify="flex-end" mt="lg" gap="xs">
          <Button variant="default" onClick={onClose}>
            {strings.common.cancel}
          </Button>
          <Button type="submit" loading={pause.isPending}>
            {t.pauseDo}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}

/** Deleting cannot be undone: it says who loses what, and wants the name typed. */
export function DeleteDialog({ app, opened, onClose, onDone }: Props) {
  const [typed, setTyped] = useState("");
  const people = connectedPeople(app);
  const remove = useMutation({ mutationFn: () => api.deleteOAuthApp(app.id, people > 0), onSuccess: onDone });
  const matches = typed.trim() === app.name;
  const close = () => {
    setTyped("");
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title={t.deleteTitle(app.name)} closeButtonProps={{ "aria-label": strings.common.close }}>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          if (matches) remove.mutate();
        }}
      >
        <Text fw={600}>{people === 0 ? t.deleteNobody : t.deleteLoses(people)}</Text>
        <ul className={classes.consequences}>
          {(people === 0 ? t.deleteStepsNobody : t.deleteSteps).map((step) => (
            <li key={step}>{step}</li>
          ))}
          {app.data_sources.length > 0 && <li>{t.deleteSources(app.data_sources)}</li>}
        </ul>
        <TextInput label={t.deleteType(app.name)} value={typed} autoComplete="off" data-autofocus onChange={(e) => setTyped(e.currentTarget.value)} />
        {remove.isError && (
          <div className={classes.dialogError}>
            <ErrorBlock error={remove.error} />
          </div>
        )}
        <Group justify="flex-end" mt="lg" gap="xs">
          <Button variant="default" onClick={close}>
            {strings.common.cancel}
          </Button>
          <Button type="submit" color="red" disabled={!matches} loading={remove.isPending}>
            {t.deleteDo}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
