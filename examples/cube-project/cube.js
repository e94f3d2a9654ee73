module.exports = {
  contextToOrchestratorId: ({ securityContext }) => `CUBE_APP_${securityContext.tenant}`,

  queryRewrite: (query, { securityContext }) => {
    if (!securityContext.tenant) {
      throw new Error('The token names no tenant');
    }
    query.filters.push({ member: 'orders.tenant', operator: 'equals', values: [securityContext.tenant] });
    return query;
  },

  scheduledRefreshTimer: 60,
};
