import { Button, Group, Modal, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { api, type ConnectedApp } from "../api/client";
import { strings } from "../strings";
import { ErrorBlock } from "../ui/ErrorBlock";
import classes from "./ConnectedApps.module.css";
import { connectedApps as t } from "./strings";

interface Props {
  app: ConnectedApp;
  opened: boolean;
  onClose: () => void;
  onRevoked: () => void;
}

/** Names what revoking does before it is done. It starts on Cancel. */
export function RevokeDialog({ app, opened, onClose, onRevoked }: Props) {
  const revoke = useMutation({ mutationFn: () => api.revoke(app.app), onSuccess: onRevoked });
  return (
    <Modal opened={opened} onClose={onClose} title={t.revokeTitle(app.name)} closeButtonProps={{ "aria-label": strings.common.close }}>
      <Text>{t.revokeWill}</Text>
      <ul className={classes.consequences}>
        {t.revokeSteps(app.name, app.data_sources).map((step) => (
          <li key={step}>{step}</li>
        ))}
      </ul>
      <Text c="dimmed">{t.revokeAfter}</Text>
      {revoke.isError && (
        <div className={classes.dialogError}>
          <ErrorBlock error={revoke.error} />
        </div>
      )}
      <Group justify="flex-end" mt="lg" gap="xs">
        <Button variant="default" data-autofocus onClick={onClose}>
          {strings.common.cancel}
        </Button>
        <Button color="red" onClick={() => revoke.mutate()} loading={revoke.isPending}>
          {t.revokeOf(app.name)}
        </Button>
      </Group>
    </Modal>
  );
}
