"""From a study's folder to tables, conclusions and a page that needs nothing else. scripts/report calls main."""
